use crate::{Limits, Tokens};

/// What fits one conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// ⌊max_context × context_margin⌋.
    pub usable: Tokens,
    /// What the shared prompt leaves of that.
    pub room: Tokens,
    /// ⌊room × chunk_margin⌋: exchanges of one chunk together.
    pub chunk: Tokens,
}

impl Budget {
    /// The budget of conversations with a shared prompt of `system` tokens.
    pub fn new(max_context: Tokens, system: Tokens, limits: &Limits) -> Self {
        let usable = limits.context_margin.of(max_context.0);
        let room = usable.saturating_sub(system.0);
        Self { usable: Tokens(usable), room: Tokens(room), chunk: Tokens(limits.chunk_margin.of(room)) }
    }

    /// Exchanges of `exchange` tokens each that fit the room: ⌊room ÷ exchange⌋. An exchange of 0 counts as 1.
    pub fn exchanges(&self, exchange: Tokens) -> u64 {
        self.room.0 / exchange.0.max(1)
    }

    /// Exchanges of `exchange` tokens each in a chunk: ⌊⌊room ÷ exchange⌋ × chunk_margin⌋, at least 1.
    ///
    /// Together they never pass `chunk`, unless the one exchange does.
    pub fn chunk_exchanges(&self, exchange: Tokens, limits: &Limits) -> u64 {
        limits.chunk_margin.of(self.exchanges(exchange)).max(1)
    }
}
