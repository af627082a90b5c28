//! Tokens a second over the last seconds.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Over how long the speed is taken: long enough to smooth answers of a few seconds,
/// short enough that a stall shows in the next heartbeats.
const WINDOW: Duration = Duration::from_secs(10);
/// One sum of tokens covers this much time, so at most 21 sums are kept.
const STEP: Duration = Duration::from_millis(500);

/// Counts tokens as answers come in.
#[derive(Debug, Default)]
pub(crate) struct Speed {
    sums: Mutex<VecDeque<(Instant, u64)>>,
}

// === impl Speed ===

impl Speed {
    /// `tokens` of a request that ended at `now`.
    pub(crate) fn add(&self, now: Instant, tokens: u64) {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        match sums.back_mut() {
            Some((start, sum)) if now.saturating_duration_since(*start) < STEP => *sum += tokens,
            _ => sums.push_back((now, tokens)),
        }
        forget(&mut sums, now);
    }

    /// Tokens a second over the last ten seconds.
    pub(crate) fn tokens_per_second(&self, now: Instant) -> f64 {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        forget(&mut sums, now);
        #[expect(clippy::cast_precision_loss, reason = "tokens of ten seconds are far below 2^52")]
        let tokens = sums.iter().map(|(_, sum)| sum).sum::<u64>() as f64;
        tokens / WINDOW.as_secs_f64()
    }
}

fn forget(sums: &mut VecDeque<(Instant, u64)>, now: Instant) {
    while sums.front().is_some_and(|(start, _)| now.saturating_duration_since(*start) > WINDOW) {
        sums.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_seconds_count() {
        let (speed, start) = (Speed::default(), Instant::now());
        speed.add(start, 600);
        speed.add(start + STEP / 2, 400);
        assert!((speed.tokens_per_second(start + STEP) - 100.0).abs() < 1e-9);
        assert_eq!(speed.sums.lock().unwrap().len(), 1);
        assert!(speed.tokens_per_second(start + WINDOW * 2) < 1e-9);
    }
}
