//! Executors stop what is cancelled, overdue or paused, whichever replica they are connected to: each looks
//! at its own, so that it takes no longer than a round.

use std::collections::HashSet;

use caravan_proto::name::{BatchId, ExecutorId, LeaseId};

use super::steps::Steps;
use crate::{
    dispatch::Stop,
    metrics,
    store::{self, OpenBatch, State},
};

/// Overdue batches that are ended in one round.
const ROUND: i64 = 64;

impl Steps {
    /// Ends the batches whose completion window has ended.
    pub(super) async fn end_overdue(&self) -> Result<(), store::Error> {
        let now = self.store.now().await?;
        for (batch, ended) in self.store.end_overdue(now, ROUND).await? {
            tracing::info!(%batch, "the completion window has ended");
            if ended.state == State::Expired {
                metrics::ended(ended.state);
            }
            self.signals.batch_changed();
            self.fleet.revoke(&ended.revoked, Stop::Now, "expired").await;
        }
        Ok(())
    }

    /// Stops leases of batches that are not leased from any more.
    pub(super) async fn stop_leases(&self, leases: Vec<(ExecutorId, LeaseId, BatchId)>, open: &[OpenBatch]) {
        let leased_from =
            |batch: &&OpenBatch| matches!(batch.state, State::Queued | State::Running | State::Paused);
        let going_on: HashSet<BatchId> = open.iter().filter(leased_from).map(|batch| batch.id).collect();
        let over = leases.into_iter().filter(|(.., batch)| !going_on.contains(batch));
        let over: Vec<_> = over.map(|(executor, lease, _)| (executor, lease)).collect();
        self.fleet.revoke(&over, Stop::Now, "the batch is over").await;
    }

    /// Has the leases of a paused batch handed back.
    pub(super) async fn stop_after_request(&self, batch: OpenBatch) -> Result<(), store::Error> {
        let leases = self.store.leases(Some(batch.id)).await?;
        let held: Vec<_> = leases.iter().map(|lease| (lease.executor, lease.id)).collect();
        self.fleet.revoke(&held, Stop::AfterRequest, "paused").await;
        Ok(())
    }
}
