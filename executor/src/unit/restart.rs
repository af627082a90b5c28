//! A restart that is wanted of whoever started the engine.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::sync::watch;

/// Where a unit asks for a restart of its engine, and its supervisor, if it has one, hears of it.
#[derive(Debug, Default)]
pub(crate) struct Restart {
    served: AtomicBool,
    wanted: watch::Sender<Option<String>>,
}

// === impl Restart ===

#[cfg_attr(not(test), expect(dead_code, reason = "called by the supervisor of a managed engine"))]
impl Restart {
    /// From now on somebody starts the engine again when that is wanted.
    pub(crate) fn serve(&self) {
        self.served.store(true, Relaxed);
    }

    /// Waits until a restart is wanted, takes the wish, and gives its reason.
    pub(crate) async fn wanted(&self) -> String {
        let mut changes = self.wanted.subscribe();
        loop {
            // The sender lives in self, so waiting does not fail.
            let _there = changes.wait_for(Option::is_some).await;
            if let Some(why) = self.wanted.send_replace(None) {
                return why;
            }
        }
    }
}

impl Restart {
    /// Asks for a restart; false if nobody serves it.
    pub(crate) fn want(&self, why: &str) -> bool {
        let served = self.served.load(Relaxed);
        if served {
            self.wanted.send_replace(Some(why.to_owned()));
        }
        served
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn a_wish_is_taken_once_and_only_where_somebody_serves() {
        let restart = Restart::default();
        assert!(!restart.want("stuck") && restart.wanted().now_or_never().is_none());
        restart.serve();
        assert!(restart.want("stuck") && restart.want("stuck still"), "a second wish is the same");
        assert_eq!(restart.wanted().now_or_never().as_deref(), Some("stuck still"));
        assert_eq!(restart.wanted().now_or_never(), None);
    }
}
