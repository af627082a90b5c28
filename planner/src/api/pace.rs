//! How often a watch says something.

use std::time::Duration;

use tokio::time::Instant;

/// Twice a second, on the average, is as often as a state is published, but for a change of `state`.
const EACH: Duration = Duration::from_millis(500);
/// A planner hears of commits more or less late: one that is heard of sooner than the one before need not wait.
const EARLY: Duration = Duration::from_millis(250);
/// What changes without a new revision (the speed, above all) is published only if none came for so long: as it is
/// seldom of use, it must not keep anybody from hearing of a commit. Twice the default tick of commits.
pub(super) const SILENCE: Duration = Duration::from_secs(2);

/// When states are published: a new revision at once, unless there are too many.
#[derive(Default)]
pub(super) struct Pace {
    last: Option<Instant>,
    /// When the next revision is due if none comes early.
    next: Option<Instant>,
}

// === impl Pace ===

impl Pace {
    pub(super) fn published(&mut self, is_new: bool) {
        let now = Instant::now();
        self.last = Some(now);
        if is_new {
            self.next = Some(self.next.map_or(now, |next| next.max(now)) + EACH);
        }
    }

    /// Since the last publication.
    pub(super) fn silence(&self) -> Duration {
        self.last.map_or(Duration::ZERO, |last| last.elapsed())
    }

    /// How long a state is still held back.
    pub(super) fn wait(&self, is_new: bool) -> Duration {
        let due =
            if is_new { self.next.map(|next| next - EARLY) } else { self.last.map(|last| last + SILENCE) };
        due.map_or(Duration::ZERO, |due| due.saturating_duration_since(Instant::now()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const STEP: Duration = Duration::from_millis(100);

    #[tokio::test(start_paused = true)]
    async fn revisions_are_published_at_once_twice_a_second_and_the_rest_waits() {
        let mut pace = Pace::default();
        // One is heard of late, and the next one early.
        for until_the_next in [EARLY, EACH * 2 - EARLY, EARLY, EACH * 2 - EARLY] {
            assert_eq!(pace.wait(true), Duration::ZERO);
            pace.published(true);
            advance(until_the_next).await;
        }
        pace.published(true);
        assert_eq!(pace.wait(true), EACH - EARLY);
        let begun = Instant::now();
        for _ in 0..10 {
            advance(pace.wait(true)).await;
            pace.published(true);
        }
        assert!(begun.elapsed() >= EACH * 9, "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn the_speed_alone_is_published_in_silence_and_holds_back_no_revision() {
        let mut pace = Pace::default();
        pace.published(true);
        assert_eq!(pace.wait(false), SILENCE);
        advance(SILENCE).await;
        assert_eq!(pace.wait(false), Duration::ZERO);
        pace.published(false);
        advance(STEP).await;
        assert_eq!((pace.wait(false), pace.wait(true)), (SILENCE - STEP, Duration::ZERO));
    }
}
