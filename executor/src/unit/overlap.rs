//! How many requests ran at the same time, from when each ended and how long it was on its slot.

use std::time::Duration;

use tokio::time::Instant;

/// The share of a request's time that is cut off at either end: when one ends is seen from outside, a
/// moment late, and the next may seem to have begun before.
const MARGIN: f64 = 0.1;

/// A request's time on its slot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OnSlot {
    /// When its answer was there.
    pub(crate) ended: Instant,
    /// How long it was on its slot, as the engine says.
    pub(crate) took: Duration,
}

/// The most of `requests` that were on a slot at the same time.
pub(crate) fn most(requests: &[OnSlot]) -> usize {
    let cores: Vec<_> = requests.iter().filter_map(OnSlot::core).collect();
    // A maximum begins where one of them begins.
    let at =
        |moment: Instant| cores.iter().filter(|(begun, ended)| *begun <= moment && moment < *ended).count();
    cores.iter().map(|(begun, _)| at(*begun)).max().unwrap_or(0)
}

// === impl OnSlot ===

impl OnSlot {
    fn core(&self) -> Option<(Instant, Instant)> {
        let margin = self.took.mul_f64(MARGIN);
        let ended = self.ended.checked_sub(margin)?;
        let begun = self.ended.checked_sub(self.took)?.checked_add(margin)?;
        Some((begun, ended))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(spans: &[(u64, u64)]) -> Vec<OnSlot> {
        let start = Instant::now() + Duration::from_secs(60);
        let at = |millis| start + Duration::from_millis(millis);
        spans
            .iter()
            .map(|(begun, ended)| OnSlot { ended: at(*ended), took: Duration::from_millis(ended - begun) })
            .collect()
    }

    #[test]
    fn requests_one_after_the_other_do_not_overlap_though_they_seem_to_touch() {
        assert_eq!(most(&requests(&[(0, 100), (97, 200), (200, 300)])), 1);
        assert_eq!(most(&requests(&[(0, 100), (4, 110), (101, 205), (112, 210)])), 2);
        assert_eq!(most(&requests(&[(0, 100), (1, 101), (2, 90), (3, 105)])), 4);
    }

    #[test]
    fn what_took_no_time_tells_nothing() {
        assert_eq!(most(&requests(&[(5, 5), (5, 5)])), 0);
        assert_eq!(most(&[]), 0);
    }
}
