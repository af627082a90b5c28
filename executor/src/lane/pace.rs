//! How long a lane's requests take.

use std::time::Duration;

/// Weight of the newest request: the last ten or so count.
const NEWEST: f64 = 0.2;

/// Moving average of the time a request takes; unknown before the first.
#[derive(Debug, Default)]
pub(super) struct Pace {
    seconds: Option<f64>,
}

// === impl Pace ===

impl Pace {
    /// A request took so long.
    pub(super) fn observe(&mut self, took: Duration) {
        let took = took.as_secs_f64();
        self.seconds = Some(self.seconds.map_or(took, |before| before + NEWEST * (took - before)));
    }

    /// Whether the next chunk should be asked for now, with `left` requests to start,
    /// the one that starts now among them: it is the last, or all of them will be through
    /// within `ahead`.
    pub(super) fn is_time(&self, left: usize, ahead: Duration) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "requests of a chunk are far below 2^52")]
        let soon = |seconds: f64| seconds * left as f64 <= ahead.as_secs_f64();
        left <= 1 || self.seconds.is_some_and(soon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_chunk_is_asked_for_at_the_last_request_or_a_moment_before_the_end() {
        let ahead = Duration::from_secs(1);
        let mut pace = Pace::default();
        assert!(pace.is_time(1, ahead) && !pace.is_time(2, ahead), "nothing is known yet");
        pace.observe(Duration::from_millis(100));
        assert!(pace.is_time(10, ahead) && !pace.is_time(11, ahead));
        (0..50).for_each(|_| pace.observe(Duration::from_secs(2)));
        assert!(pace.is_time(1, ahead) && !pace.is_time(2, ahead));
    }
}
