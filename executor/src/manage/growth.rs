//! Engines that take more and more host memory.

use std::time::Duration;

use tokio::time::Instant;

/// The growth of one process tree since it had settled after its last load.
#[derive(Debug)]
pub(super) struct Growth {
    limit: u64,
    settles_in: Duration,
    loads: u64,
    since: Instant,
    base: Option<u64>,
}

// === impl Growth ===

impl Growth {
    /// Of an engine that starts `now`; `limit` in bytes, 0 for none.
    pub(super) fn new(limit: u64, settles_in: Duration, now: Instant) -> Self {
        Self { limit, settles_in, loads: 0, since: now, base: None }
    }

    /// Its memory is `bytes` now, after so many `loads` of models. Gives by how much it has grown, if
    /// that is more than the limit.
    pub(super) fn over(&mut self, now: Instant, loads: u64, bytes: u64) -> Option<u64> {
        if loads != self.loads {
            *self = Self { loads, since: now, base: None, ..*self };
        }
        if now.duration_since(self.since) < self.settles_in {
            return None;
        }
        let grown = bytes.saturating_sub(*self.base.get_or_insert(bytes));
        (self.limit > 0 && grown > self.limit).then_some(grown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_counts_from_when_it_has_settled_after_the_last_load() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut growth = Growth::new(100, Duration::from_secs(60), start);
        assert_eq!(growth.over(at(10), 1, 1_000), None);
        assert_eq!(growth.over(at(69), 1, 5_000), None, "still settling");
        assert_eq!(growth.over(at(70), 1, 6_000), None, "the base");
        assert_eq!(growth.over(at(80), 1, 6_100), None);
        assert_eq!(growth.over(at(90), 1, 6_101), Some(101));
        assert_eq!(growth.over(at(100), 2, 9_000), None, "another model");
        assert_eq!(growth.over(at(160), 2, 9_500), None, "its base");
        assert_eq!(growth.over(at(170), 2, 9_601), Some(101));
    }

    #[test]
    fn no_limit_is_none() {
        let mut growth = Growth::new(0, Duration::from_secs(60), Instant::now());
        let later = |minutes: u64| Instant::now() + Duration::from_secs(60 * minutes);
        assert_eq!(growth.over(later(2), 0, 1), None);
        assert_eq!(growth.over(later(3), 0, u64::MAX), None);
    }
}
