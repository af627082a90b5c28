//! When an engine that takes requests but does not answer them is noticed, and what follows.

use std::time::Duration;

use caravan_service::config;
use serde::{Deserialize, Serialize};

/// Bounds of an engine's silence. An engine may answer about itself while no request gets an answer
/// (its runner is frozen, its scheduler stuck): only a request tells.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Liveness {
    /// A request may take so many times what its tokens take at the speed measured here. Default 4: cold
    /// prompts in all slots at once made a wave take 1.7 times as long (32 slots, one H200), and the
    /// speed is one that a tenth of the answers miss.
    pub factor: f64,
    /// And so many seconds more. Default 30: an engine that lost its runner takes 6 s to load a small
    /// model again; for larger ones the time of the last load is added too.
    pub floor_seconds: u64,
    /// A request for one token, on an idle slot, may take so many seconds. Default 30: behind the cold
    /// prompts of 32 other slots it waited 22 s.
    pub probe_seconds: u64,
    /// After so many seconds without work an engine is asked for one token before the first request.
    /// Default 60: a probe takes a slot's cache, so not between two chunks.
    pub idle_seconds: u64,
    /// An engine that is stuck has so many seconds to unload its model. Default 60: it waits for what
    /// runs, and that was stopped.
    pub unload_seconds: u64,
    /// A model is unloaded and loaded to mend its engine at most this often, in seconds. Default 300: a
    /// large model takes a minute to load, so mending takes at most a fifth of the time.
    pub mend_seconds: u64,
    /// Requests that wait longer than this for a slot although there should be one for each, in
    /// milliseconds, show that there is not. Default 100: ten times what the wire and a template take.
    pub wait_millis: u64,
    /// Where an engine does not say how many requests it runs in parallel, at most so many are tried.
    /// Default 16: beyond it an 8B model on an H200 gained 4 % a doubling.
    pub most_slots: u32,
}

// === impl Liveness ===

impl Default for Liveness {
    fn default() -> Self {
        Self {
            factor: 4.0,
            floor_seconds: 30,
            probe_seconds: 30,
            idle_seconds: 60,
            unload_seconds: 60,
            mend_seconds: 300,
            wait_millis: 100,
            most_slots: 16,
        }
    }
}

impl Liveness {
    /// What serde cannot check; `section` is where the options stand in the file.
    pub(crate) fn check(&self, section: &str) -> Result<(), config::Error> {
        let check = |holds, key, wanted| config::check(holds, &format!("{section}.{key}"), wanted);
        check(self.factor.is_finite() && self.factor >= 1.0, "factor", "a number of at least 1")?;
        check(self.probe_seconds > 0, "probe_seconds", "at least 1")?;
        check((1..=256).contains(&self.most_slots), "most_slots", "1 to 256")
    }

    /// What a request that should take `expected` may take.
    pub(crate) fn allowed(&self, expected: Duration, load: Duration) -> Duration {
        let stretched = Duration::try_from_secs_f64(expected.as_secs_f64() * self.factor);
        let floor = Duration::from_secs(self.floor_seconds);
        stretched.unwrap_or(Duration::MAX).saturating_add(floor).saturating_add(load)
    }

    pub(crate) fn probe(&self) -> Duration {
        Duration::from_secs(self.probe_seconds)
    }

    pub(crate) fn idle(&self) -> Duration {
        Duration::from_secs(self.idle_seconds)
    }

    pub(crate) fn unload(&self) -> Duration {
        Duration::from_secs(self.unload_seconds)
    }

    pub(crate) fn mend(&self) -> Duration {
        Duration::from_secs(self.mend_seconds)
    }

    pub(crate) fn wait(&self) -> Duration {
        Duration::from_millis(self.wait_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_may_take_a_multiple_and_a_floor() {
        let seconds = Duration::from_secs;
        let liveness = Liveness::default();
        assert_eq!(liveness.allowed(seconds(10), seconds(7)), seconds(77));
        assert_eq!(liveness.allowed(Duration::MAX, seconds(7)), Duration::MAX);
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (liveness, named) in [
            (Liveness { factor: 0.5, ..Liveness::default() }, "liveness.factor"),
            (Liveness { factor: f64::NAN, ..Liveness::default() }, "liveness.factor"),
            (Liveness { probe_seconds: 0, ..Liveness::default() }, "liveness.probe_seconds"),
            (Liveness { most_slots: 257, ..Liveness::default() }, "liveness.most_slots"),
        ] {
            assert!(liveness.check("liveness").unwrap_err().to_string().contains(named));
        }
        assert!(Liveness::default().check("liveness").is_ok());
    }
}
