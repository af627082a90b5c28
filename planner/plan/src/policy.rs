use std::num::NonZeroU32;

use crate::{Bytes, Error, Micros, Ratio, Tokens};

/// What the client wants, within what the operator allows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// How requests share their prompt.
    pub strategy: Strategy,
    /// The client's bound on the requests of a chunk.
    pub max_requests: Option<NonZeroU32>,
    /// The client's bound on the time of a chunk on one lane.
    pub max_time: Option<Micros>,
    /// Token numbers that the client states.
    pub stated: StatedTokens,
    /// The operator's numbers.
    pub limits: Limits,
}

/// How requests share their prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Strategy {
    /// Every request stands alone; a shared prefix is reused through the lane's cache.
    #[default]
    Independent,
    /// One growing chat a chunk: a request sees the exchanges before it.
    Conversation,
}

/// Token numbers that win over counted ones; they include template overhead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StatedTokens {
    /// Context of one slot.
    pub max_context: Option<Tokens>,
    /// The shared prompt.
    pub system: Option<Tokens>,
    /// One request with its answer.
    pub exchange: Option<Tokens>,
    /// One request without its answer.
    pub user: Option<Tokens>,
}

/// The operator's numbers. Each default says where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Part of the context that a conversation may fill, 0 to 1. Default 0.8: the original system's.
    pub context_margin: Ratio,
    /// Part of that which a chunk takes, 0 to 1. Default 0.8: the original system's.
    pub chunk_margin: Ratio,
    /// Answer tokens reserved for a request without `max_tokens`. Default 512: longer than
    /// classifications and extractions, which are most of what batches hold.
    pub reserved_answer_tokens: Tokens,
    /// Payload of a chunk; a longer request goes alone. Default 4 MiB: gRPC's usual message limit.
    pub max_payload: Bytes,
    /// Requests of a chunk. Default 1,000: a million requests are then a thousand rows, not
    /// millions, and a chunk's done-bits 125 bytes.
    pub max_requests: NonZeroU32,
    /// A chunk's part of its lane's share of the group, above 0, to 1. Default 1/8: progress shows
    /// early, and a dead lane costs little. A share below this part of this part of the lane's whole
    /// work (1/64) is one chunk, so that many small groups do not make more chunks than they must.
    pub lane_fraction: Ratio,
    /// A share this short is one chunk, and an eighth of a share is at least this. Default 1 s:
    /// leasing takes milliseconds, so it stays below 1 %.
    pub min_chunk_time: Micros,
    /// No independent chunk of several requests is planned for longer. Default 10 min: what one
    /// lane holds stays small beside a batch of hours.
    pub max_chunk_time: Micros,
    /// The halving chunks at a share's end stop at this many requests. Default 2: the lanes of a
    /// batch then end within two requests of each other.
    pub tail_requests: NonZeroU32,
    /// While no lane is idle, a group takes one lane more only if each lane's share stays this many
    /// times the prefix. Default 20: reading the prefix again then costs at most 5 %.
    pub warm_factor: Ratio,
    /// Prompt tokens that take as long as one answer token, where speeds are unknown. Default 32:
    /// the order of magnitude on GPUs, good enough to weigh long requests against short ones.
    pub answer_weight: Ratio,
    /// What estimated prompts add to the context to load. Default 1, i.e. twice the estimate: text
    /// of two bytes a token still fits.
    pub estimate_headroom: Ratio,
    /// Contexts that a model may be loaded with, ascending. Default: powers of two, 2,048 to
    /// 1,048,576, so that batches of similar needs share one reload set.
    pub tiers: Vec<Tokens>,
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            context_margin: Ratio::from_millionths(800_000),
            chunk_margin: Ratio::from_millionths(800_000),
            reserved_answer_tokens: Tokens(512),
            max_payload: Bytes(4 << 20),
            max_requests: NonZeroU32::MIN.saturating_add(999),
            lane_fraction: Ratio::from_millionths(125_000),
            min_chunk_time: Micros::from_secs(1),
            max_chunk_time: Micros::from_secs(600),
            tail_requests: NonZeroU32::MIN.saturating_add(1),
            warm_factor: Ratio::from_millionths(20_000_000),
            answer_weight: Ratio::from_millionths(32_000_000),
            estimate_headroom: Ratio::ONE,
            tiers: (11..=20).map(|power| Tokens(1 << power)).collect(),
        }
    }
}

impl Limits {
    /// Errors: `RatioOutOfRange` for a margin above 1 or a fraction of 0, `TiersNotAscending`.
    pub fn check(&self) -> Result<(), Error> {
        let bounded = [
            ("context_margin", self.context_margin),
            ("chunk_margin", self.chunk_margin),
            ("lane_fraction", self.lane_fraction),
        ];
        for (field, ratio) in bounded {
            if ratio > Ratio::ONE || ratio == Ratio::from_millionths(0) {
                return Err(Error::RatioOutOfRange { field, value: ratio.decimal() });
            }
        }
        if !self.tiers.is_sorted() {
            return Err(Error::TiersNotAscending);
        }
        Ok(())
    }
}
