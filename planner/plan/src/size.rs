use crate::{Fleet, Head, Input, Request, StatedTokens, Tokens};

/// Tokens of one request: what the client states wins over what was counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Prompt tokens beyond the shared prefix.
    pub(crate) own: u64,
    /// Answer tokens that it asks for, or that are reserved.
    pub(crate) answer: u64,
    /// Answer tokens that will likely come.
    pub(crate) output: u64,
    /// Whether that was learned.
    pub(crate) learned: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizer<'a> {
    fleets: &'a [Fleet],
    stated: StatedTokens,
    reserved: u64,
}

// === impl Size ===

impl Size {
    pub(crate) fn exchange(self) -> u64 {
        self.own.saturating_add(self.answer)
    }
}

// === impl Sizer ===

impl<'a> Sizer<'a> {
    pub(crate) fn new(input: &Input<'a>) -> Self {
        let stated = input.policy.stated;
        let reserved = match (stated.exchange, stated.user) {
            (Some(exchange), Some(user)) => exchange.0.saturating_sub(user.0),
            _ => input.policy.limits.reserved_answer_tokens.0,
        };
        Self { fleets: input.fleets, stated, reserved }
    }

    /// Answer tokens of a request that states none.
    pub(crate) fn reserved(&self) -> Tokens {
        Tokens(self.reserved)
    }

    pub(crate) fn prefix(&self, head: &Head) -> u64 {
        self.stated.system.map_or(u64::from(head.prefix_tokens), |system| system.0)
    }

    pub(crate) fn of(&self, request: &Request, head: &Head) -> Size {
        let counted = u64::from(request.prompt_tokens.saturating_sub(head.prefix_tokens));
        let own = self.stated.user.map_or(counted, |user| user.0);
        if !head.answers {
            return Size { own, answer: 0, output: 0, learned: true };
        }
        match self.stated.exchange {
            Some(exchange) => {
                let answer = exchange.0.saturating_sub(own);
                Size { own: own.min(exchange.0), answer, output: answer, learned: false }
            }
            None => {
                let answer = request.answer_tokens.map_or(self.reserved, |tokens| tokens.get().into());
                let fleet = self.fleets.get(head.model as usize);
                // A reserve binds nobody, so what it was used for says nothing of what is stated.
                let (share, most) = match request.answer_tokens {
                    Some(tokens) => (fleet.and_then(|fleet| fleet.answer_share), tokens.get().into()),
                    None => (fleet.and_then(|fleet| fleet.reserve_share), u64::MAX),
                };
                let output = share.map_or(answer, |share| share.of(answer).clamp(1, most));
                Size { own, answer, output, learned: share.is_some() }
            }
        }
    }

    /// Tokens that it takes at the very least: a slot with less context cannot run it.
    pub(crate) fn at_least(&self, request: &Request, head: &Head) -> u64 {
        let answer = match request.answer_tokens {
            _ if !head.answers => 0,
            Some(tokens) => tokens.get().into(),
            None => 1,
        };
        u64::from(request.prompt_tokens_low) + answer
    }

    /// Whether its prompt was estimated, and the client states nothing better. The few tokens of a template
    /// that is not known yet make no estimate of a prompt that was counted: an eighth would.
    pub(crate) fn estimated(&self, request: &Request) -> bool {
        let own_stated = self.stated.user.is_some() || self.stated.exchange.is_some();
        let sure = request.prompt_tokens_low.saturating_add(request.prompt_tokens / 8);
        sure < request.prompt_tokens && !(self.stated.system.is_some() && own_stated)
    }
}
