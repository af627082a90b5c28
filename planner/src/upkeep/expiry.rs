use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::LOOK;
use crate::{
    clock,
    dispatch::{self, Fleet},
    metrics,
    signals::Signals,
    store::{Micros, Store},
};

/// A replica whose database has failed for so long says that it does not serve: longer than a database
/// takes to start anew, shorter than a lease lives.
const UNFIT: Duration = Duration::from_secs(3);
/// A database that does not answer for so long has failed.
const PATIENCE: Duration = Duration::from_secs(2);
/// A time at which no lease was due.
const NEVER: i64 = 0;

/// Expires leases, but only after this replica has itself served, with a database that takes writes, for one
/// unbroken time to live: before that, it may be the planner that was silent, not the executors. A database that
/// cannot renew leases does not take writes, whatever it answers else: a full disk bears what changes nothing.
pub(super) struct Expiry {
    ttl: Duration,
    fleet: Fleet,
    serving_since: Instant,
    last_round: Instant,
    last_answer: Instant,
    /// What the database's clock said, and when.
    last_time: Option<(Instant, Micros)>,
    /// Whether this replica serves.
    fit: watch::Sender<bool>,
}

// === impl Expiry ===

impl Expiry {
    pub(super) fn new(lease: dispatch::Options, fleet: Fleet, fit: watch::Sender<bool>) -> Self {
        let now = Instant::now();
        let ttl = lease.ttl();
        Self { ttl, fleet, serving_since: now, last_round: now, last_answer: now, last_time: None, fit }
    }

    pub(super) async fn run(mut self, store: &dyn Store, signals: &Signals, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            self.round(store, signals).await;
            tokio::select! {
                () = tokio::time::sleep(self.step()) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Time between two looks. A database that lets one wait for longer has not served meanwhile.
    fn step(&self) -> Duration {
        LOOK.min(self.ttl / 4)
    }

    async fn round(&mut self, store: &dyn Store, signals: &Signals) {
        let now = Instant::now();
        // A round that comes late means that the process was stopped, or starved.
        let late = now - self.last_round > 3 * LOOK;
        self.last_round = now;
        let answered = self.probe(store).await && now.elapsed() <= self.step();
        let time = timeout(PATIENCE, store.now()).await.ok().and_then(Result::ok);
        let time = time.map(|time| (Instant::now(), time));
        let jumped = self.last_time.zip(time).is_some_and(|(before, now)| has_jumped(before, now));
        if jumped {
            tracing::warn!(
                "the database's clock was set, or stood still: leases are kept until they are renewed"
            );
        }
        self.last_time = time;
        if late || !answered || jumped || self.fleet.take_unrenewed() {
            self.serving_since = Instant::now();
        }
        let Some((_, time)) = time.filter(|_| self.serving_since.elapsed() >= self.ttl) else { return };
        match timeout(PATIENCE, store.expire(time)).await {
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

/// Whether between two looks a clock went on by another time than has passed: then a deadline of before
/// says nothing of its lease's holder.
fn has_jumped(before: (Instant, Micros), now: (Instant, Micros)) -> bool {
    let passed = clock::span(now.0 - before.0);
    let steps = clock::span(LOOK);
    (now.1 - before.1).abs_diff(passed) > steps.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Sqlite, suite};

    #[tokio::test]
    async fn no_lease_expires_while_leases_cannot_be_renewed() {
        let directory = tempfile::tempdir().unwrap();
        let store = Sqlite::open(&directory.path().join("rows.db")).await.unwrap();
        suite::queued(&store, &[1]).await;
        suite::claimed_by_any(&store).await.unwrap();
        let (ttl, fleet) = (Duration::from_millis(400), Fleet::default());
        let options = dispatch::Options { ttl_ms: 400 };
        let mut expiry = Expiry::new(options, fleet.clone(), watch::channel(true).0);
        let is_leased = async || store.leases(None).await.unwrap().len() == 1;
        let begun = Instant::now();
        while begun.elapsed() < 3 * ttl {
            fleet.unrenewed();
            expiry.round(&store, &Signals::default()).await;
            assert!(is_leased().await, "its holder is there, and the database is not");
        }
        let last = Instant::now();
        while is_leased().await {
            assert!(last.elapsed() < Duration::from_secs(90), "nobody renews it, and it does not expire");
            expiry.round(&store, &Signals::default()).await;
        }
        assert!(last.elapsed() >= ttl / 2, "it had {:?} to be renewed", last.elapsed());
    }

    #[test]
    fn a_clock_that_was_set_is_noticed_and_one_that_goes_on_is_not() {
        let (begun, second) = (Instant::now(), 1_000_000);
        let jumps = |passed, shown| has_jumped((begun, 0), (begun + Duration::from_secs(passed), shown));
        assert!(!jumps(1, second));
        assert!(!jumps(600, 600 * second + second / 2), "it is slewed");
        assert!(jumps(1, 46 * second));
        assert!(jumps(1, -44 * second));
    }
}
