//! A lane: one slot's worth of work, one chunk at a time, one request in flight.

mod attempt;
mod chunk;
mod outcome;
mod pace;
mod trial;

use std::{future::Future, sync::Arc};

use caravan_service::Shutdown;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::{
    first_use::FirstUse,
    lease::{LaneId, Lease, Warmth},
    ledger::Ledger,
    metrics,
    options::Limits,
    structured::Forms,
    unit::Unit,
    usage::Warm,
};
use pace::Pace;

/// Runs chunks on one slot of an engine until the process drains.
#[derive(Debug)]
pub(crate) struct Lane {
    id: LaneId,
    unit: Arc<Unit>,
    first_use: Option<Arc<FirstUse>>,
    ledger: Arc<Ledger>,
    limits: Limits,
    shutdown: Shutdown,
    /// The chunk it ran last.
    warmth: Warmth,
    /// What its slot holds.
    warm: Warm,
    pace: Pace,
    forms: Forms,
}

/// How a chunk left the lane.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// All its requests have results.
    Finished,
    /// It goes back to the planner.
    HandBack(&'static str),
    /// It is no longer held: lost, or revoked.
    Dropped,
}

// === impl Lane ===

impl Lane {
    /// Lane `index` of `unit`.
    pub(crate) fn new(
        index: u32,
        unit: Arc<Unit>,
        first_use: Option<Arc<FirstUse>>,
        ledger: Arc<Ledger>,
        limits: Limits,
        shutdown: Shutdown,
    ) -> Self {
        let id = LaneId { engine: Arc::clone(&unit.id), index };
        ledger.add_lane(id.clone());
        let (warmth, warm, pace, forms) = Default::default();
        Self { id, unit, first_use, ledger, limits, shutdown, warmth, warm, pace, forms }
    }

    /// Runs chunks until the process drains. Ends with no request in flight.
    pub(crate) async fn run(mut self) {
        while let Some(lease) = self.next().await {
            let span = tracing::info_span!(
                "chunk",
                lease = lease.id,
                batch = lease.batch,
                chunk = lease.chunk,
                engine = &*self.id.engine,
                lane = self.id.index,
                requests = lease.open.len(),
            );
            self.hold(&lease).instrument(span).await;
        }
    }

    /// The next chunk; none once the process drains. A lane of an engine that is down
    /// asks for none, and keeps one that it has fetched no longer than a lease lives.
    async fn next(&self) -> Option<Arc<Lease>> {
        self.unless_draining(async {
            while self.unit.health.up_by(Instant::now() + self.ledger.ttl()).await.is_none() {
                self.ledger.hand_back_fetched(&self.id, "engine_down");
            }
            self.ledger.take(&self.id, &self.warmth).await
        })
        .await
    }

    /// Runs one lease to its end, whichever it is.
    async fn hold(&mut self, lease: &Lease) {
        let end = tokio::select! {
            biased;
            () = lease.stopped.cancelled() => End::Dropped,
            end = self.chunk(lease) => end,
        };
        match end {
            End::Finished => self.ledger.finish(lease),
            End::HandBack(reason) => self.ledger.hand_back(lease, reason),
            End::Dropped => {}
        }
        tracing::debug!(?end, "chunk left the lane");
        metrics::chunk_ended(match end {
            End::Finished => "finished",
            End::HandBack(reason) => reason,
            End::Dropped => "dropped",
        });
    }

    /// What `future` gives; none if the process begins to drain before.
    async fn unless_draining<F: Future>(&self, future: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => None,
            output = future => Some(output),
        }
    }
}
