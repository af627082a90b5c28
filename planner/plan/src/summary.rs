use std::fmt;

use crate::{Bytes, Micros, Origin, Tokens, arithmetic::saved};

/// A plan in numbers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Summary {
    /// Requests planned; rejected ones are not among them.
    pub requests: u64,
    /// Of these, those whose tokens are an estimate.
    pub estimated_requests: u64,
    /// Groups with at least one request.
    pub groups: u64,
    /// Requests of the largest chunk.
    pub largest_chunk: u32,
    /// Longest context that a chunk needs, answers included.
    pub largest_context: Tokens,
    /// Prompt tokens if every request were sent alone.
    pub prompt_tokens_without: Tokens,
    /// Prompt tokens under this plan.
    pub prompt_tokens_with: Tokens,
    /// Evaluations of a shared prefix if every request were sent alone.
    pub prefix_evaluations_without: u64,
    /// Evaluations of a shared prefix under this plan.
    pub prefix_evaluations: u64,
    /// Lanes that the plan counts on: those of the model that has most.
    pub lanes: u32,
    /// From first lease to last commit, models one after the other. `None` if a speed is not known.
    pub estimated_duration: Option<Micros>,
    /// Answer tokens reserved for a request that states no `max_tokens`.
    pub reserved_answer_tokens: Tokens,
    /// Answer tokens that will likely come.
    pub output_tokens: Tokens,
    /// Answer tokens that requests allow, or that are reserved for them.
    pub allowed_tokens: Tokens,
    /// Requests that state no `max_tokens`.
    pub unstated_requests: u64,
    /// Whether `output_tokens` was learned from answers of the same models, not taken from what requests allow.
    pub output_learned: bool,
    /// Of one lane, for all chunks together. `None` if a speed is not known.
    pub lane_time: Option<Micros>,
    /// Of all payloads together.
    pub payload: Bytes,
    /// Chunks by size, the smallest first; sizes without a chunk are left out.
    pub chunk_bins: Vec<ChunkBin>,
    /// Where the limits came from: the weakest source in use.
    pub origin: Origin,
    /// What a person should know.
    pub warnings: Vec<Warning>,
}

/// Chunks of similar size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkBin {
    /// The most requests that a chunk of this bin has: a power of two.
    pub max_requests: u32,
    /// Chunks with at most so many requests, and more than the bin before.
    pub chunks: u32,
}

/// What a person should know of a plan; displays as a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// No engine was known: the lanes are a configured default.
    LanesUnknown {
        /// Lanes that the plan counts on.
        lanes: u32,
    },
    /// No speed was known: chunks are cut by tokens, and there is no duration.
    SpeedUnknown,
    /// The client's bound on a chunk's time cannot hold without a known speed.
    TimeBoundIgnored,
    /// Tokens were estimated.
    TokensEstimated {
        /// Requests concerned.
        requests: u64,
    },
    /// The client states a context that the fleet does not have.
    StatedContextAboveFleet {
        /// What the client states.
        stated: Tokens,
        /// What the fleet has.
        fleet: Tokens,
    },
    /// Prefixes that engines evaluate anew with every request: see `Group::reuse`.
    PrefixesNotKept {
        /// Groups concerned.
        groups: u64,
        /// Requests concerned.
        requests: u64,
    },
    /// Requests longer than a conversation's budget: each goes alone.
    ConversationsOfOne {
        /// Requests concerned.
        requests: u64,
    },
    /// Requests larger than a chunk payload should be: each goes alone.
    PayloadsTooLarge {
        /// Requests concerned.
        requests: u64,
    },
}

// === impl Summary ===

impl Summary {
    /// Part of the prompt tokens that need not be evaluated, 0 to 1.
    pub fn savings(&self) -> f64 {
        saved(self.prompt_tokens_with.0, self.prompt_tokens_without.0)
    }

    /// Part of the evaluations of shared prefixes that are saved, 0 to 1.
    pub fn prefix_savings(&self) -> f64 {
        saved(self.prefix_evaluations, self.prefix_evaluations_without)
    }
}

// === impl Warning ===

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LanesUnknown { lanes } => {
                write!(f, "No engine is known yet for a model; lanes that are assumed: {lanes}.")
            }
            Self::SpeedUnknown => {
                write!(f, "The speed of a model is not known: its chunks are cut by tokens, not by time.")
            }
            Self::TimeBoundIgnored => {
                write!(f, "The bound on a chunk's time has no effect while the speed is not known.")
            }
            Self::TokensEstimated { requests } => {
                write!(f, "Requests whose tokens are estimated from their bytes: {requests}.")
            }
            Self::StatedContextAboveFleet { stated, fleet } => {
                write!(f, "The stated context of {stated} tokens is above the {fleet} of the fleet.")
            }
            Self::PrefixesNotKept { groups, requests } => {
                write!(
                    f,
                    "Shared prefixes that are not reused: {groups}; requests that evaluate theirs anew: {requests}."
                )
            }
            Self::ConversationsOfOne { requests } => {
                write!(f, "Requests that are longer than a conversation's budget, and go alone: {requests}.")
            }
            Self::PayloadsTooLarge { requests } => {
                write!(f, "Requests that are larger than a chunk's payload, and go alone: {requests}.")
            }
        }
    }
}
