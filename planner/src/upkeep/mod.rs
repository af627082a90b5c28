//! What has to happen without anybody asking: batches move on, leases expire, results are
//! compacted. Level-triggered: every round looks at the rows, so a crash at any point only
//! means that the next round begins the same step anew.

mod expiry;
mod steps;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use caravan_proto::name::BatchId;
use expiry::Expiry;
use steps::Steps;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

use crate::{
    dispatch,
    objects::Objects,
    prepare::Preparer,
    results,
    signals::Signals,
    store::{OpenBatch, State, Store},
};

/// Without a hint, the rows are looked at this often.
const LOOK: Duration = Duration::from_secs(1);
/// Chunks compacted in one round.
const COMPACTIONS: i64 = 16;

/// Keeps batches moving.
pub(crate) struct Upkeep {
    steps: Steps,
    expiry: Expiry,
    /// Batches with a step under way on this replica.
    busy: Arc<Mutex<HashSet<BatchId>>>,
    tasks: TaskTracker,
}

// === impl Upkeep ===

impl Upkeep {
    /// Upkeep of `store` and `objects`.
    #[must_use]
    pub(crate) fn new(
        lease: dispatch::Options,
        store: Arc<dyn Store>,
        objects: Objects,
        preparer: Arc<Preparer>,
        signals: Signals,
    ) -> Self {
        let steps = Steps { store, objects, preparer, signals };
        Self { expiry: Expiry::new(lease), steps, busy: Arc::default(), tasks: TaskTracker::new() }
    }

    /// Keeps up until stopped; steps under way are dropped then, and begun anew by the next process.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let round = self.round(&stop).await;
            if let Err(error) = &round {
                tracing::error!(error = error as &dyn std::error::Error, "upkeep is held up");
            }
            self.expiry.round(&*self.steps.store, &self.steps.signals, round.is_ok()).await;
            tokio::select! {
                () = self.steps.signals.until_upkeep(LOOK) => {}
                () = stop.cancelled() => {}
            }
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn round(&self, stop: &CancellationToken) -> Result<(), results::Error> {
        for batch in self.steps.store.open_batches().await? {
            match batch.state {
                State::Validating | State::Planning | State::Finalizing | State::Cancelling => {
                    self.start(batch, stop);
                }
                State::Queued => self.steps.look_for_engines(batch).await?,
                _ => {}
            }
        }
        for (id, chunk) in self.steps.store.uncompacted(COMPACTIONS).await? {
            // Finalizing compacts by itself.
            if !self.busy().contains(&id) {
                results::compact(&*self.steps.store, &self.steps.objects, id, &chunk).await?;
            }
        }
        Ok(())
    }

    fn start(&self, batch: OpenBatch, stop: &CancellationToken) {
        if !self.busy().insert(batch.id) {
            return;
        }
        let (steps, busy, stop) = (self.steps.clone(), Arc::clone(&self.busy), stop.clone());
        let step = async move {
            let done = tokio::select! {
                done = steps.take(batch) => done,
                () = stop.cancelled() => Ok(()),
            };
            busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&batch.id);
            match done {
                Ok(()) => steps.signals.upkeep(),
                // The next round tries again.
                Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "a step failed"),
            }
            steps.signals.batch_changed();
            steps.signals.work();
        };
        let span = tracing::info_span!("step", batch = %batch.id, state = batch.state.as_str_name());
        self.tasks.spawn(step.instrument(span));
    }

    fn busy(&self) -> std::sync::MutexGuard<'_, HashSet<BatchId>> {
        // Nothing panics while it holds this lock.
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
