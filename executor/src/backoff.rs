//! Pauses that grow and are spread: the only place that knows how.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};

/// Pauses between a first and a longest one, each about twice the one before, with
/// jitter so that many executors do not come back at the same moment. It never ends.
#[derive(Debug)]
pub(crate) struct Backoff {
    builder: ExponentialBuilder,
    pauses: ExponentialBackoff,
    longest: Duration,
}

// === impl Backoff ===

impl Backoff {
    /// Pauses from `first` to at most `longest`.
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        let builder = ExponentialBuilder::new()
            .with_jitter()
            .with_min_delay(first)
            .with_max_delay(longest)
            .without_max_times();
        Self { builder, pauses: builder.build(), longest }
    }

    /// How long to wait now; never longer than the longest pause.
    pub(crate) fn pause(&mut self) -> Duration {
        self.pauses.next().unwrap_or(self.longest).min(self.longest)
    }

    /// Starts with the first pause again.
    pub(crate) fn reset(&mut self) {
        self.pauses = self.builder.build();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_start_again() {
        let (first, longest) = (Duration::from_millis(10), Duration::from_millis(100));
        let mut backoff = Backoff::new(first, longest);
        let start = backoff.pause();
        assert!(start >= first && start <= first * 2, "{start:?}");
        let last = (0..50).map(|_| backoff.pause()).last();
        assert_eq!(last, Some(longest));
        backoff.reset();
        assert!(backoff.pause() <= first * 2);
    }
}
