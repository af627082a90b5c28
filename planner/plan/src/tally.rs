use crate::{Error, Input, Rejected, Tokens, size::Sizer, spread::Load, work::Pace};

/// First pass: every request checked and grouped, the work of every group added up.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Ordinals that fit a slot: group after group, in input order.
    pub(crate) ordinals: Vec<u32>,
    /// Groups with requests, by model.
    pub(crate) loads: Vec<Vec<Load>>,
    pub(crate) rejected: Vec<Rejected>,
    pub(crate) prompt_tokens_without: u64,
    pub(crate) prefix_evaluations_without: u64,
    pub(crate) estimated_requests: u64,
    /// Answer tokens that will likely come.
    pub(crate) output_tokens: u64,
    /// Answer tokens that requests allow, or that are reserved for them.
    pub(crate) allowed_tokens: u64,
    /// Requests that state no `max_tokens`.
    pub(crate) unstated: u64,
    /// Requests whose answers are guessed from what they allow.
    pub(crate) unlearned: u64,
    /// By model: whether any prompt is an estimate.
    pub(crate) estimated: Vec<bool>,
}

impl Tally {
    /// Errors: `TooMany`, `UnknownModel`, `UnknownGroup`.
    pub(crate) fn take(input: &Input<'_>, sizer: &Sizer<'_>, paces: &[Pace]) -> Result<Self, Error> {
        if input.requests.len().max(input.heads.len()) >= u32::MAX as usize {
            return Err(Error::TooMany);
        }
        let mut tally = Self {
            ordinals: Vec::new(),
            loads: vec![Vec::new(); input.fleets.len()],
            rejected: Vec::new(),
            prompt_tokens_without: 0,
            prefix_evaluations_without: 0,
            estimated_requests: 0,
            output_tokens: 0,
            allowed_tokens: 0,
            unstated: 0,
            unlearned: 0,
            estimated: vec![false; input.fleets.len()],
        };
        let mut loads = empty_loads(input, sizer, paces)?;
        for (ordinal, request) in (0u32..).zip(input.requests) {
            let unknown = || Error::UnknownGroup { ordinal, group: request.group };
            let (load, head) = find(&mut loads, input, request.group).ok_or_else(unknown)?;
            let (needed, limit) = (sizer.at_least(request, head), input.context(head.model).0);
            if needed > limit {
                tally.rejected.push(Rejected { ordinal, needed: Tokens(needed), limit: Tokens(limit) });
                continue;
            }
            let (prefix, size) = (sizer.prefix(head), sizer.of(request, head));
            load.add(size);
            tally.output_tokens = tally.output_tokens.saturating_add(size.output);
            tally.unstated += u64::from(head.answers && request.answer_tokens.is_none());
            tally.unlearned += u64::from(!size.learned);
            tally.allowed_tokens = tally.allowed_tokens.saturating_add(size.answer);
            let prompt = prefix.saturating_add(size.own);
            tally.prompt_tokens_without = tally.prompt_tokens_without.saturating_add(prompt);
            tally.prefix_evaluations_without += u64::from(prefix > 0);
            if sizer.estimated(request) {
                tally.estimated_requests += 1;
                if let Some(estimated) = tally.estimated.get_mut(head.model as usize) {
                    *estimated = true;
                }
            }
        }
        tally.ordinals = gather(input, &tally.rejected, &mut loads);
        for load in loads.into_iter().filter(|load| load.requests > 0) {
            if let Some(of_model) = tally.loads.get_mut(load.model as usize) {
                of_model.push(load);
            }
        }
        Ok(tally)
    }
}

fn empty_loads(input: &Input<'_>, sizer: &Sizer<'_>, paces: &[Pace]) -> Result<Vec<Load>, Error> {
    let load = |(group, head): (u32, &crate::Head)| {
        let pace = *paces.get(head.model as usize).ok_or(Error::UnknownModel { group, model: head.model })?;
        Ok(Load::empty(group, head.model, sizer.prefix(head), pace))
    };
    (0u32..).zip(input.heads).map(load).collect()
}

fn find<'l, 'i>(
    loads: &'l mut [Load],
    input: &Input<'i>,
    group: u32,
) -> Option<(&'l mut Load, &'i crate::Head)> {
    Some((loads.get_mut(group as usize)?, input.heads.get(group as usize)?))
}

/// Counting sort by group: stable, so input order stays inside each group. Sets each load's `start`.
fn gather(input: &Input<'_>, rejected: &[Rejected], loads: &mut [Load]) -> Vec<u32> {
    let mut next = Vec::with_capacity(loads.len());
    let mut start = 0;
    for load in loads {
        load.start = start;
        next.push(start);
        start += load.requests;
    }
    let mut ordinals = vec![0; start as usize];
    let mut rejected = rejected.iter().map(|request| request.ordinal).peekable();
    for (ordinal, request) in (0u32..).zip(input.requests) {
        if rejected.next_if_eq(&ordinal).is_some() {
            continue;
        }
        if let Some(place) = next.get_mut(request.group as usize) {
            if let Some(slot) = ordinals.get_mut(*place as usize) {
                *slot = ordinal;
            }
            *place += 1;
        }
    }
    ordinals
}
