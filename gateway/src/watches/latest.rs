use std::sync::Arc;

use caravan_proto::{
    delta,
    v1::{
        Batch, BatchDelta, ChunkCounts, Heartbeat, Progress, WatchBatchResponse, watch_batch_response::Event,
    },
};
use prost_types::FieldMask;
use tonic::Status;

/// What is known of a batch that is watched.
#[derive(Debug, Clone)]
pub(super) enum Latest {
    /// Not yet anything.
    Unknown,
    /// This, or still this: said again, it is a sign of life.
    State(Arc<State>),
    /// Nothing more will be.
    Lost(Status),
}

/// One state of a batch.
#[derive(Debug)]
pub(super) struct State {
    /// Counts the states since the watch began.
    step: u64,
    batch: Batch,
    token: String,
    ended: bool,
    /// From the step before; none at the first.
    change: Option<BatchDelta>,
}

/// How far a subscriber has come.
#[derive(Debug)]
pub(super) struct Position {
    /// The revision that it has.
    revision: i64,
    /// What it knows beside that; none if only a token tells what it has.
    moment: Option<Moment>,
    /// The state that it has, once it was one of these.
    step: Option<u64>,
}

/// What changes without a new revision: whoever has the revision may have something else of it.
type Moment = (Option<ChunkCounts>, Option<Progress>);

// === impl Latest ===

impl Latest {
    /// With what the planner said next, or the planner that goes on for it.
    pub(super) fn with(&self, message: WatchBatchResponse) -> Self {
        let known = match self {
            Self::State(known) => Some(known),
            Self::Unknown | Self::Lost(_) => None,
        };
        let (batch, change) = match (message.event, known) {
            (Some(Event::Snapshot(batch)), None) => (batch, None),
            (Some(Event::Snapshot(batch)), Some(known)) => {
                let change = delta::between(&known.batch, &batch);
                (batch, change)
            }
            (Some(Event::Delta(change)), Some(known)) => {
                let mut batch = known.batch.clone();
                delta::apply(&mut batch, &change);
                (batch, Some(change))
            }
            (_, Some(known)) if message.r#final => (known.batch.clone(), None),
            _ => return self.clone(),
        };
        if change.is_none() && known.is_some() && !message.r#final {
            return self.clone();
        }
        let step = known.map_or(0, |known| known.step + 1);
        Self::State(Arc::new(State {
            step,
            batch,
            token: message.resume_token,
            ended: message.r#final,
            change,
        }))
    }
}

// === impl Position ===

impl Position {
    /// Behind the first message, which tells of this revision.
    pub(super) fn behind(first: &WatchBatchResponse, revision: i64) -> Self {
        let moment = match &first.event {
            Some(Event::Snapshot(batch)) => Some((batch.chunks, batch.progress)),
            _ => None,
        };
        Self { revision, moment, step: None }
    }

    /// What brings a subscriber from here to `state`; none if it has that, or more.
    pub(super) fn advance(&mut self, state: &State) -> Option<WatchBatchResponse> {
        let (revision, moment) = (state.batch.revision, (state.batch.chunks, state.batch.progress));
        let event = match self.step {
            None if self.revision > revision => return None,
            None if self.revision == revision && self.moment == Some(moment) => None,
            None if self.revision == revision => Some(Event::Delta(of_the_moment(moment))),
            Some(step) if step == state.step => Some(Event::Heartbeat(Heartbeat {})),
            Some(step) if step + 1 == state.step => state.change.clone().map(Event::Delta),
            // New here, or a slow reader, which gets what it has missed as a whole.
            _ => Some(Event::Snapshot(state.batch.clone())),
        };
        *self = Self { revision, moment: None, step: Some(state.step) };
        let event = event.or(state.ended.then_some(Event::Heartbeat(Heartbeat {})))?;
        let resume_token = state.token.clone();
        Some(WatchBatchResponse { resume_token, event: Some(event), r#final: state.ended })
    }
}

fn of_the_moment((chunks, progress): Moment) -> BatchDelta {
    let batch = Batch { chunks, progress, ..Batch::default() };
    let paths = ["chunks", "progress"].map(str::to_owned).to_vec();
    BatchDelta { batch: Some(batch), update_mask: Some(FieldMask { paths }) }
}
