use std::ops::Range;

use crate::{Bytes, Micros, Reuse, Summary, Tokens};

/// What will run, and in what order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// Ordinals of all planned requests, chunk after chunk.
    pub order: Vec<u32>,
    /// A chunk's index is its number. Chunks of one group follow each other: share after share, or
    /// in input order where they are conversations. Groups of one model follow each other too, those
    /// with the longest shares first.
    pub chunks: Vec<Chunk>,
    /// By group, as `Input::heads`; a group may be empty.
    pub groups: Vec<Group>,
    /// Requests that fit no slot (`context_length_exceeded`), in input order.
    pub rejected: Vec<Rejected>,
    /// By model, as `Input::fleets`: the context to load it with; 0 if no chunk wants it.
    pub contexts: Vec<Tokens>,
    /// By model: the batch of tokens (`num_batch`) to load it with; 0 leaves it to the engine.
    pub batches: Vec<Tokens>,
    /// The plan in numbers.
    pub summary: Summary,
}

/// Requests of one group, in order, for one lane.
///
/// Whoever gives chunks to lanes goes on with the share that the lane is warm for, by `position`;
/// a lane without one takes the first share that nobody has begun. Once all are begun it helps another lane: it
/// takes the last chunk that is worth stealing, or whose share no lane is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Index into `Plan::groups`.
    pub group: u32,
    /// Which lane's share of the group, from 0.
    pub share: u32,
    /// Place within the share, from 0.
    pub position: u32,
    /// First request, as index into `Plan::order`.
    pub start: u32,
    /// One past the last request.
    pub end: u32,
    /// Prompt tokens that the chunk evaluates: each request's own and, at the head of a share or
    /// of a conversation, the shared prefix.
    pub prompt_tokens: Tokens,
    /// Context that its longest request needs, or the whole conversation at its end; answers included.
    pub context_needed: Tokens,
    /// Size of the payload.
    pub bytes: Bytes,
    /// Time of one lane at the fleet's speed. `None` if that is not known.
    pub estimated: Option<Micros>,
    /// Whether a lane that is not warm for it should take it from one that is, and then help with the
    /// rest of the share: not if reading the prefix again takes longer than all that is left of it.
    pub worth_stealing: bool,
}

/// Requests that share model, endpoint and prefix.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Group {
    /// Requests planned.
    pub requests: u32,
    /// Number of its first chunk.
    pub first_chunk: u32,
    /// Chunks.
    pub chunks: u32,
    /// Tokens of the shared prefix, stated or counted.
    pub prefix_tokens: Tokens,
    /// Lanes that it is spread over, one a share.
    pub shares: u32,
    /// Whether engines keep that prefix between requests.
    pub reuse: Reuse,
}

/// A request that no slot can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejected {
    /// Which request.
    pub ordinal: u32,
    /// Tokens that it needs at least: its prompt's lower bound and `max_tokens`, or 1 if it states none.
    pub needed: Tokens,
    /// Context of a slot.
    pub limit: Tokens,
}

// === impl Chunk ===

impl Chunk {
    /// Requests in the chunk, at least 1.
    pub fn requests(&self) -> u32 {
        self.end - self.start
    }

    /// Its requests as a range of `Plan::order`.
    pub fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

// === impl Plan ===

impl Plan {
    /// Ordinals of a chunk's requests, in the order to run them.
    pub fn ordinals(&self, chunk: &Chunk) -> &[u32] {
        self.order.get(chunk.range()).unwrap_or_default()
    }
}
