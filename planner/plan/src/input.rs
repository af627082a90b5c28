use std::num::NonZeroU32;

use crate::{Policy, Ratio, Tokens};

/// Everything a plan is made of.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// In input order; the index is the request's ordinal. At most `u32::MAX`.
    pub requests: &'a [Request],
    /// Indexed by `Request::group`.
    pub heads: &'a [Head],
    /// Indexed by `Head::model`.
    pub fleets: &'a [Fleet],
    /// What the client wants and the operator allows.
    pub policy: &'a Policy,
}

/// One request as a fixed record of 20 bytes: its text is never here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Index into the heads: requests of equal model, endpoint and shared head have the same one.
    pub group: u32,
    /// The whole prompt, shared prefix included, as counted or as likely.
    pub prompt_tokens: u32,
    /// Lower bound of `prompt_tokens`; equal to it where tokens were counted. Only this rejects a request.
    pub prompt_tokens_low: u32,
    /// The `max_tokens` that the request states.
    pub answer_tokens: Option<NonZeroU32>,
    /// Size of its own part in a chunk payload, envelope included.
    pub bytes: u32,
}

/// What the requests of one group share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Index into the fleets.
    pub model: u32,
    /// Tokens of the shared prefix; 0 if nothing is shared.
    pub prefix_tokens: u32,
    /// Size of the shared part in a chunk payload.
    pub bytes: u32,
    /// Whether requests are answered with tokens: false for embeddings, which reserve none.
    pub answers: bool,
}

/// What is known of the lanes that serve one model.
#[derive(Debug, Clone, PartialEq)]
pub struct Fleet {
    /// Lanes that serve the model; 0 counts as 1.
    pub lanes: u32,
    /// False if `lanes` is a configured default, because no engine was known.
    pub lanes_known: bool,
    /// Largest context of one slot.
    pub context: Tokens,
    /// What one lane does, by the lanes at work, the fewest first; the last holds for more. Empty if that
    /// was not measured.
    pub speeds: Vec<Speed>,
    /// Window of the model's sliding-window attention, if it has one and the engines do not keep the whole
    /// cache of its layers.
    pub sliding_window: Option<Tokens>,
    /// Whether prefixes were kept when that was measured. It wins over what the window tells.
    pub reuse: Vec<ReusePoint>,
    /// Part of their `max_tokens` that answers took so far, if that was learned.
    pub answer_share: Option<Ratio>,
    /// Part of the reserve that answers took where requests stated nothing, if that was learned.
    pub reserve_share: Option<Ratio>,
    /// Where these numbers came from.
    pub origin: Origin,
}

/// What one lane does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speed {
    /// While so many lanes are at work, or fewer.
    pub lanes: u32,
    /// Time of a prompt token, in seconds.
    pub prompt_seconds: f64,
    /// Time of an answer token, in seconds.
    pub answer_seconds: f64,
    /// Time of a request beyond its tokens, in seconds.
    pub request_seconds: f64,
}

/// Whether a shared prefix was evaluated once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReusePoint {
    /// Tokens of the prefix.
    pub prefix: Tokens,
    /// Tokens that followed it in each request.
    pub own: Tokens,
    /// The batch of tokens (`num_batch`) that the model was loaded with; 0: the engine's own choice.
    pub batch: Tokens,
    /// Whether it was.
    pub kept: bool,
}

/// Where limits came from, the best known first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// The client stated them.
    Stated,
    /// A calibrated profile.
    Profile,
    /// What a connected engine says of itself; not measured.
    Reported,
    /// Configured defaults: no engine was known.
    #[default]
    Configured,
}
