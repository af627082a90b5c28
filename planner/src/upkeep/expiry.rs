use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::LOOK;
use crate::{dispatch, metrics, signals::Signals, store::Store};

/// Expires leases, but only after this replica has itself served for one unbroken time to live:
/// before that, it may be the planner that was silent, not the executors.
pub(super) struct Expiry {
    ttl: Duration,
    serving_since: Instant,
    last_round: Instant,
}

// === impl Expiry ===

impl Expiry {
    pub(super) fn new(lease: dispatch::Options) -> Self {
        let now = Instant::now();
        Self { ttl: lease.ttl(), serving_since: now, last_round: now }
    }

    pub(super) async fn run(mut self, store: &dyn Store, signals: &Signals, stop: &CancellationToken) {
        let pause = LOOK.min(self.ttl / 4);
        while !stop.is_cancelled() {
            self.round(store, signals).await;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    async fn round(&mut self, store: &dyn Store, signals: &Signals) {
        let now = Instant::now();
        // A round that comes late means that the process was stopped, or starved.
        let late = now - self.last_round > 3 * LOOK;
        self.last_round = now;
        let (time, rows) = (store.now().await, store.open_batches().await);
        if late || time.is_err() || rows.is_err() {
            self.serving_since = now;
        }
        let Ok(time) = time else { return };
        if now - self.serving_since < self.ttl {
            return;
        }
        match store.expire(time).await {
            Ok(0) => {}
            Ok(leases) => {
                tracing::warn!(leases, "leases expired: their holders fell silent");
                metrics::expired(leases);
                signals.work();
                signals.batch_changed();
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "leases cannot be expired");
                self.serving_since = now;
            }
        }
    }
}
