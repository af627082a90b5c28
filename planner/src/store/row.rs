//! Rows as values. Plain data: the database's types end at this module.

use std::num::NonZeroU64;

use caravan_proto::{
    Tenant,
    name::{BatchId, ExecutorId, FileId, LeaseId, PlanId, SegmentId},
    v1,
};

use super::Retry;

/// Microseconds since 1970, UTC.
pub type Micros = i64;

/// States of a batch, as in the contract.
pub type State = v1::batch::State;

/// A batch to create.
#[derive(Debug, Clone, PartialEq)]
pub struct NewBatch {
    /// Its id.
    pub id: BatchId,
    /// Whose it is.
    pub tenant: Tenant,
    /// The client's idempotency key, the tenant's own.
    pub request_id: Option<String>,
    /// The client's fields; nothing that the server sets.
    pub spec: v1::Batch,
    /// The input.
    pub input: FileId,
    /// When it was created.
    pub created: Micros,
    /// When it expires, if it does.
    pub deadline: Option<Micros>,
    /// What it retries; its input is then a new file.
    pub retry: Option<Retry>,
    /// What its tenant may have under way.
    pub quota: Quota,
}

/// What a tenant may have under way; none where there is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    /// Batches that have not ended.
    pub open_batches: Option<NonZeroU64>,
    /// Prompt tokens of requests that are planned and not final.
    pub queued_tokens: Option<NonZeroU64>,
}

/// The limit of a quota that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exceeded {
    /// That of open batches.
    OpenBatches {
        /// How many there may be.
        limit: NonZeroU64,
    },
    /// That of queued tokens.
    QueuedTokens {
        /// How many there may be.
        limit: NonZeroU64,
        /// How many there are.
        queued: i64,
    },
}

/// What became of a creation.
#[derive(Debug, Clone, PartialEq)]
pub enum Creation {
    /// A new batch.
    Created(Box<Batch>),
    /// The batch that the same `request_id` created before, with the same spec.
    Existing(Box<Batch>),
    /// The same `request_id` came with another spec before.
    Reused,
    /// The input does not exist (any more), or is not ready.
    NoInput,
    /// The tenant has as much under way as it may.
    Exceeds(Exceeded),
}

/// A batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Its id.
    pub id: BatchId,
    /// Whose it is.
    pub tenant: Tenant,
    /// The client's fields, but for `defaults`, which [`Store::defaults`](super::Store::defaults) gives.
    pub spec: v1::Batch,
    /// The input.
    pub input: FileId,
    /// Where it stands.
    pub state: State,
    /// Stable word for why.
    pub reason: String,
    /// Sentence for why.
    pub message: String,
    /// Requests by outcome.
    pub requests: v1::RequestCounts,
    /// Chunks by outcome; `running` counts leases in force.
    pub chunks: v1::ChunkCounts,
    /// Tokens of final requests.
    pub usage: v1::Usage,
    /// The plan, once planned.
    pub plan: Option<v1::Plan>,
    /// The digests that its models are held to, from the first lease of each on; by model.
    pub pins: Vec<Pin>,
    /// The cursor number that the next segment gets.
    pub next_segment: i64,
    /// Planned from configured defaults: to be planned anew when an engine comes, if nothing was leased.
    pub provisional: bool,
    /// Outputs, once written.
    pub outputs: Outputs,
    /// First line errors of validation.
    pub line_errors: Vec<v1::LineError>,
    /// All line errors of validation.
    pub line_error_count: i64,
    /// When it was created.
    pub created: Micros,
    /// When the plan stood.
    pub planned: Option<Micros>,
    /// When the first chunk was leased.
    pub started: Option<Micros>,
    /// When the last result was committed.
    pub last_commit: Option<Micros>,
    /// When it ended.
    pub ended: Option<Micros>,
    /// When it expires, if it does.
    pub deadline: Option<Micros>,
    /// Its deadline passed before every request was final.
    pub expired: bool,
    /// Paused, or to be paused once it is planned.
    pub held: bool,
    /// What it retries.
    pub retry: Option<Retry>,
    /// Grows with every change.
    pub revision: i64,
}

/// A model of a batch, held to one digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Its name, without `:latest`.
    pub model: String,
    /// Its digest; empty if the engines tell none.
    pub digest: String,
}

/// What a replica has to look after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenBatch {
    /// The batch.
    pub id: BatchId,
    /// Where it stands.
    pub state: State,
    /// Grows with every change.
    pub revision: i64,
    /// Planned from configured defaults, and nothing was leased yet.
    pub provisional: bool,
}

/// The files that a batch ends with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outputs {
    /// Answers in input order.
    pub output: Option<FileId>,
    /// Rejected and failed lines in input order.
    pub error: Option<FileId>,
}

/// A chunk to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewChunk {
    /// Number in the plan, from 0.
    pub number: i32,
    /// Its group.
    pub group: i32,
    /// Its share of the group: chunks of a share follow each other on one lane.
    pub share: i32,
    /// First of its share.
    pub share_head: bool,
    /// Worth taking from a lane that is warm for it, for one that is not.
    pub stealable: bool,
    /// The model, without `:latest`.
    pub model: String,
    /// Bit `1 << EngineKind` for every kind of engine that honours all its fields.
    pub kinds: i64,
    /// Context of one slot that it needs, in tokens.
    pub context: i64,
    /// Requests.
    pub size: i32,
}

/// A chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Number in the plan.
    pub number: i32,
    /// Its group.
    pub group: i32,
    /// Requests.
    pub size: i32,
    /// Requests that are final.
    pub done_count: i32,
    /// Bit i of byte i/8: request i is final.
    pub done: Vec<u8>,
    /// Cursor numbers of the segments that hold results of it, ascending.
    pub segments: Vec<i64>,
    /// All its results in one object, once compacted.
    pub compacted: Option<Compacted>,
}

/// A chunk's results in one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// Names the object.
    pub id: SegmentId,
    /// Its size in bytes.
    pub bytes: i64,
    /// Line number of its first result.
    pub first_line: i64,
}

/// Answer tokens of a model's latest batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answers {
    /// Those that requests allowed.
    pub allowed: i64,
    /// Those that came.
    pub given: i64,
}

impl Answers {
    /// The part that came. `None` of nothing.
    #[must_use]
    pub fn share(self) -> Option<caravan_plan::Ratio> {
        let share = self.given as f64 / self.allowed as f64;
        caravan_plan::Ratio::from_decimal(share).filter(|_| self.allowed > 0 && self.given > 0)
    }
}

/// What planning found, for `activate`.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// Names it.
    pub id: PlanId,
    /// Non-empty lines.
    pub total: i64,
    /// Chunks added.
    pub chunks: i64,
    /// The plan.
    pub plan: v1::Plan,
    /// Planned from configured defaults.
    pub provisional: bool,
    /// First line errors.
    pub line_errors: Vec<v1::LineError>,
    /// All line errors: lines rejected, each counted as failed.
    pub line_error_count: i64,
    /// Results of the rejected lines, if any, in line order.
    pub rejected: Option<RejectedSegment>,
}

/// The segment of rejected lines; its records belong to no chunk and are all final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RejectedSegment {
    /// Names the object.
    pub id: SegmentId,
    /// Its size in bytes.
    pub bytes: i64,
    /// Records in it: rejected lines (a line with several errors is one record).
    pub records: i64,
}

/// Why a batch is rejected as a whole, for `reject`.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejected {
    /// Non-empty lines, as far as they were counted.
    pub total: i64,
    /// Of those, lines that are wrong.
    pub failed: i64,
    /// Stable word.
    pub reason: String,
    /// Sentence.
    pub message: String,
    /// First line errors.
    pub line_errors: Vec<v1::LineError>,
    /// All line errors.
    pub line_error_count: i64,
    /// The file with all of them.
    pub error_file: Option<FileId>,
}

/// A lane that wants a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Id for the new lease.
    pub lease: LeaseId,
    /// Who asks.
    pub executor: ExecutorId,
    /// For which engine.
    pub engine: String,
    /// For which lane.
    pub lane: i32,
    /// Models of the engine.
    pub models: Vec<Offer>,
    /// Bit of the engine's kind, as in `NewChunk::kinds`.
    pub kind: i64,
    /// What the lane is warm for.
    pub warm: Option<Warm>,
    /// Time now.
    pub now: Micros,
    /// Until when the lease lives.
    pub deadline: Micros,
}

impl Wanted {
    /// Lanes with the same qualification find the same chunks: where one finds nothing, neither do the others.
    #[must_use]
    pub fn qualification(&self) -> Qualification<'_> {
        (&self.models, self.kind, self.warm)
    }
}

/// What decides which chunks a lane may get.
pub type Qualification<'w> = (&'w [Offer], i64, Option<Warm>);

/// A model that an engine offers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Offer {
    /// Its name, without `:latest`.
    pub model: String,
    /// The largest context of one slot, in tokens; 0 if not known.
    pub context: i64,
    /// Its digest; empty if the engine tells none.
    pub digest: String,
    /// Whether it may pin its digest for a batch, or only serve one that has it pinned.
    pub pins: bool,
}

/// The prefix that a lane holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Warm {
    /// The batch.
    pub batch: BatchId,
    /// The group in it.
    pub group: i32,
    /// The share of that group.
    pub share: i32,
}

/// A chunk that was claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The batch.
    pub batch: BatchId,
    /// The chunk.
    pub chunk: i32,
    /// Its group.
    pub group: i32,
    /// Its share.
    pub share: i32,
    /// Its model.
    pub model: String,
    /// The digest that the batch holds the model to.
    pub digest: String,
    /// Fences the holder.
    pub epoch: i64,
    /// Requests of the chunk.
    pub size: i32,
    /// Requests that are final already.
    pub done: Vec<u8>,
    /// The plan of its payload; none before plans had names.
    pub plan: Option<PlanId>,
}

/// A lease as its holder names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The lease.
    pub lease: LeaseId,
    /// Its epoch.
    pub epoch: i64,
    /// Whether its first request was sent.
    pub started: bool,
}

/// A lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Its id.
    pub id: LeaseId,
    /// The batch.
    pub batch: BatchId,
    /// The chunk.
    pub chunk: i32,
    /// Fences the holder.
    pub epoch: i64,
    /// The holder.
    pub executor: ExecutorId,
    /// The holder's engine.
    pub engine: String,
    /// The holder's lane.
    pub lane: i32,
    /// Lives until then.
    pub deadline: Micros,
    /// Whether its first request was sent.
    pub started: bool,
    /// Its deadline passed, and nobody has claimed its chunk.
    pub expired: bool,
}

/// A segment to commit.
#[derive(Debug, Clone, PartialEq)]
pub struct NewSegment {
    /// Names the object.
    pub id: SegmentId,
    /// Its size in bytes.
    pub bytes: i64,
    /// Its records by chunk, in the order of the object.
    pub pieces: Vec<NewPiece>,
}

/// Records of one chunk that stand together in a segment.
#[derive(Debug, Clone, PartialEq)]
pub struct NewPiece {
    /// The chunk.
    pub chunk: i32,
    /// First byte in the object.
    pub offset: i64,
    /// Bytes.
    pub bytes: i64,
    /// The records, in order.
    pub records: Vec<Record>,
}

/// What counts of one result.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Index into the chunk.
    pub index: i32,
    /// Answered.
    pub succeeded: bool,
    /// Tokens.
    pub usage: v1::Usage,
}

/// What a commit did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Commit {
    /// The segment's cursor number, if anything was new.
    pub number: Option<i64>,
    /// Results that were new.
    pub accepted: i64,
    /// Chunks whose last request this made final.
    pub chunks_done: Vec<i32>,
    /// Every request of the batch is final now.
    pub batch_done: bool,
}

/// A registered segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Cursor number, from 0, without gaps.
    pub number: i64,
    /// Names the object.
    pub id: SegmentId,
    /// Its size in bytes.
    pub bytes: i64,
    /// Its pieces, those without any final record left out.
    pub pieces: Vec<Piece>,
}

/// Records of one chunk in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The chunk; none for rejected lines.
    pub chunk: Option<i32>,
    /// First byte in the object.
    pub offset: i64,
    /// Bytes.
    pub bytes: i64,
    /// Records.
    pub records: i64,
    /// Bit i of byte i/8: record i was made final by this segment. Empty: all of them.
    pub mask: Vec<u8>,
}
