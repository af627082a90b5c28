//! How often a watch says something.

use std::time::Duration;

use tokio::time::Instant;

/// State is published at most twice in this time, but for a change of `state`.
pub(super) const PACE: Duration = Duration::from_secs(1);

/// When states are published. A new revision is at once, unless two publications came just before it: so that
/// there is a place for it, what changes without one (the speed, above all) comes only where a revision does not.
#[derive(Default)]
pub(super) struct Pace {
    last: Option<Instant>,
    before: Option<Instant>,
}

// === impl Pace ===

impl Pace {
    pub(super) fn published(&mut self) {
        self.before = self.last.replace(Instant::now());
    }

    /// Since the last publication.
    pub(super) fn silence(&self) -> Duration {
        self.last.map_or(Duration::ZERO, |last| last.elapsed())
    }

    /// How long a state is still held back.
    pub(super) fn wait(&self, is_new: bool) -> Duration {
        let since = if is_new { self.before } else { self.last };
        since.map_or(Duration::ZERO, |since| PACE.saturating_sub(since.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const STEP: Duration = Duration::from_millis(100);

    #[tokio::test(start_paused = true)]
    async fn a_revision_is_published_at_once_and_so_is_the_next_but_not_a_third() {
        let mut pace = Pace::default();
        for _ in 0..2 {
            assert_eq!(pace.wait(true), Duration::ZERO);
            pace.published();
            advance(STEP).await;
        }
        assert_eq!(pace.wait(true), PACE - STEP * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_speed_alone_leaves_a_place_for_a_revision() {
        let mut pace = Pace::default();
        assert_eq!(pace.wait(false), Duration::ZERO);
        pace.published();
        advance(STEP).await;
        assert_eq!(pace.wait(false), PACE - STEP);
        assert_eq!(pace.wait(true), Duration::ZERO);
    }
}
