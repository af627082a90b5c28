use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::LOOK;
use crate::{dispatch, metrics, signals::Signals, store::Store};

/// A replica whose database has failed for so long says that it does not serve: longer than a database
/// takes to start anew, shorter than a lease lives.
const UNFIT: Duration = Duration::from_secs(3);
/// A database that does not answer for so long has failed.
const PATIENCE: Duration = Duration::from_secs(2);
/// A time at which no lease was due.
const NEVER: i64 = 0;

/// Expires leases, but only after this replica has itself served, with a database that takes writes, for one
/// unbroken time to live: before that, it may be the planner that was silent, not the executors.
pub(super) struct Expiry {
    ttl: Duration,
    serving_since: Instant,
    last_round: Instant,
    last_answer: Instant,
    /// Whether this replica serves.
    fit: watch::Sender<bool>,
}

// === impl Expiry ===

impl Expiry {
    pub(super) fn new(lease: dispatch::Options, fit: watch::Sender<bool>) -> Self {
        let now = Instant::now();
        Self { ttl: lease.ttl(), serving_since: now, last_round: now, last_answer: now, fit }
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
        let answered = self.probe(store).await;
        if late || !answered {
            self.serving_since = Instant::now();
        }
        if self.serving_since.elapsed() < self.ttl {
            return;
        }
        let expire = async { store.expire(store.now().await?).await };
        match timeout(PATIENCE, expire).await {
            Ok(Ok(0)) => {}
            Ok(Ok(leases)) => {
                tracing::warn!(leases, "leases expired: their holders fell silent");
                metrics::expired(leases);
                signals.work();
                signals.batch_changed();
            }
            Ok(Err(error)) => {
                tracing::error!(error = &error as &dyn std::error::Error, "leases cannot be expired");
                self.serving_since = Instant::now();
            }
            Err(_) => self.serving_since = Instant::now(),
        }
    }

    /// Whether the database takes writes: one that changes nothing.
    async fn probe(&mut self, store: &dyn Store) -> bool {
        let failure = match timeout(PATIENCE, store.expire(NEVER)).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {} s", PATIENCE.as_secs())),
        };
        match failure {
            None => {
                self.last_answer = Instant::now();
                if !self.fit.send_replace(true) {
                    tracing::info!("the database is there again: this planner serves");
                }
                true
            }
            Some(why) => {
                if self.last_answer.elapsed() > UNFIT && self.fit.send_replace(false) {
                    tracing::error!(why, "the database cannot be reached: this planner does not serve");
                }
                false
            }
        }
    }
}
