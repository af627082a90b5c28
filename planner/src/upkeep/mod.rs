//! What has to happen without anybody asking: batches move on, leases expire, results are
//! compacted. Level-triggered: every round looks at the rows, so a crash at any point only
//! means that the next round begins the same step anew.

mod compaction;
mod expiry;
mod steps;
mod stops;
mod storage;

use std::{sync::Arc, time::Duration};

use expiry::Expiry;
use steps::{Seen, Steps};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

use crate::{
    dispatch::{self, Fleet},
    objects::Objects,
    prepare::Preparer,
    signals::Signals,
    store::{self, Exclusive, OpenBatch, State, Store},
};

/// Without a hint, the rows are looked at this often.
const LOOK: Duration = Duration::from_secs(1);

/// Keeps batches moving.
pub(crate) struct Upkeep {
    lease: dispatch::Options,
    steps: Steps,
    tasks: TaskTracker,
    fit: watch::Sender<bool>,
}

// === impl Upkeep ===

impl Upkeep {
    /// Upkeep of `store` and `objects`; `fit` is told whether the database can be reached.
    #[must_use]
    pub(crate) fn new(
        lease: dispatch::Options,
        store: Arc<dyn Store>,
        objects: Objects,
        preparer: Arc<Preparer>,
        fleet: Fleet,
        signals: Signals,
        fit: watch::Sender<bool>,
    ) -> Self {
        let steps = Steps { store, objects, preparer, fleet, signals };
        Self { lease, steps, tasks: TaskTracker::new(), fit }
    }

    /// Keeps up until stopped; steps under way are dropped then, and begun anew by the next process.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let Steps { store, objects, fleet, signals, .. } = &self.steps;
        // Beside each other: a slow step or an unreadable segment must not keep leases from expiring.
        tokio::join!(
            self.move_on(&stop),
            Expiry::new(self.lease, fleet.clone(), self.fit.clone()).run(&**store, signals, &stop),
            compaction::run(&**store, objects, &stop),
            storage::watch(objects, &stop),
        );
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn move_on(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.round(stop).await {
                tracing::error!(error = &error as &dyn std::error::Error, "upkeep is held up");
            }
            tokio::select! {
                () = self.steps.signals.until_upkeep(LOOK) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    async fn round(&self, stop: &CancellationToken) -> Result<(), store::Error> {
        let seen = Seen::new();
        survived(self.steps.end_overdue().await)?;
        // Before the batches: what a lease was given of since then is not looked at.
        let leases = self.steps.fleet.leases();
        let batches = self.steps.store.open_batches().await?;
        self.steps.stop_leases(leases, &batches).await;
        for batch in batches {
            survived(match batch.state {
                State::Validating | State::Planning if !self.steps.preparer.has_room() => Ok(()),
                State::Validating | State::Planning | State::Finalizing | State::Cancelling => {
                    self.start(batch, stop).await
                }
                State::Queued => self.steps.look_for_engines(batch, &seen).await,
                State::Paused => self.steps.stop_after_request(batch).await,
                State::Running => self.steps.look_at_running(batch, &seen).await,
                _ => Ok(()),
            })?;
        }
        Ok(())
    }

    /// Begins the step that is due, unless it is under way, here or on another replica, or this one has as many
    /// under way as it may: then the next round asks again.
    async fn start(&self, batch: OpenBatch, stop: &CancellationToken) -> Result<(), store::Error> {
        let claim = self.steps.store.exclusive(Exclusive::Step(batch.id)).await?;
        let Some(claim) = claim else { return Ok(()) };
        let (steps, stop) = (self.steps.clone(), stop.clone());
        let step = async move {
            let done = tokio::select! {
                done = steps.take(batch.id) => done,
                () = stop.cancelled() => return,
            };
            match &done {
                Ok(()) => steps.signals.upkeep(),
                // The next round tries again.
                Err(error) => steps.tell(batch.id, error, &stop).await,
            }
            drop(claim);
            steps.signals.batch_changed();
            steps.signals.work();
        };
        let span = tracing::info_span!("step", batch = %batch.id, state = batch.state.as_str_name());
        self.tasks.spawn(step.instrument(span));
        Ok(())
    }
}

/// One batch's trouble holds up no other; an outage does.
fn survived(done: Result<(), store::Error>) -> Result<(), store::Error> {
    match done {
        Err(error) if !error.is_outage() => {
            tracing::error!(error = &error as &dyn std::error::Error, "a batch is held up");
            Ok(())
        }
        done => done,
    }
}
