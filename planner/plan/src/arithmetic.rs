use crate::{Budget, Error, Limits, Tokens};

/// The plan of a conversation batch whose exchanges are all alike, without looking at a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arithmetic {
    /// Requests planned.
    pub requests: u64,
    /// What fits one conversation.
    pub budget: Budget,
    /// Exchanges that fit the usable context.
    pub exchanges: u64,
    /// Exchanges of a full chunk.
    pub chunk_requests: u64,
    /// Chunks; each evaluates the shared prompt once.
    pub chunks: u64,
    /// Context of the largest chunk, answers included.
    pub largest_context: Tokens,
    /// Prompt tokens if every request were sent alone.
    pub prompt_tokens_without: Tokens,
    /// Prompt tokens under this plan.
    pub prompt_tokens_with: Tokens,
}

/// Computes it from stated numbers: a shared prompt of `system`, exchanges of `exchange` of which
/// `user` are the request's.
///
/// Errors: `RatioOutOfRange`; `ExchangeTooLong` if not one exchange fits.
pub fn arithmetic(
    requests: u64,
    max_context: Tokens,
    system: Tokens,
    exchange: Tokens,
    user: Tokens,
    limits: &Limits,
) -> Result<Arithmetic, Error> {
    limits.check()?;
    let budget = Budget::new(max_context, system, limits);
    let exchanges = budget.exchanges(exchange);
    if exchanges == 0 {
        return Err(Error::ExchangeTooLong { exchange: exchange.0, room: budget.room.0 });
    }
    let chunk_requests = budget.chunk_exchanges(exchange, limits);
    let chunks = requests.div_ceil(chunk_requests);
    let longest = chunk_requests.min(requests);
    let users = requests.saturating_mul(user.0);
    Ok(Arithmetic {
        requests,
        budget,
        exchanges,
        chunk_requests,
        chunks,
        largest_context: Tokens(if requests == 0 { 0 } else { system.0 + longest * exchange.0 }),
        prompt_tokens_without: Tokens(requests.saturating_mul(system.0).saturating_add(users)),
        prompt_tokens_with: Tokens(chunks.saturating_mul(system.0).saturating_add(users)),
    })
}

// === impl Arithmetic ===

impl Arithmetic {
    /// Part of the prompt tokens that need not be evaluated, 0 to 1.
    pub fn savings(&self) -> f64 {
        saved(self.prompt_tokens_with.0, self.prompt_tokens_without.0)
    }

    /// Part of the evaluations of the shared prompt that are saved, 0 to 1.
    pub fn prefix_savings(&self) -> f64 {
        saved(self.chunks, self.requests)
    }
}

/// 1 − with ÷ without; 0 of nothing, and of prompts of no tokens, of which an engine evaluates one.
pub(crate) fn saved(with: u64, without: u64) -> f64 {
    if without == 0 { 0.0 } else { (1.0 - with as f64 / without as f64).max(0.0) }
}
