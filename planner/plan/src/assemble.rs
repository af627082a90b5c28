use std::collections::HashMap;

use crate::{
    Chunk, Error, Group, Input, Limits, Micros, Plan, Policy, Strategy, Tokens, conversation,
    draft::{Bounds, Draft},
    independent, reuse,
    schedule::{Task, makespan},
    size::Sizer,
    spread::{Load, spread},
    summarize::summarize,
    tally::Tally,
    tier,
    work::Pace,
};

/// Plans a batch: groups, lanes, order and chunks.
///
/// Laws: every request is either rejected or in exactly one chunk; a chunk's requests are of one
/// group; a chunk of more than one request passes none of its budgets; conversations keep input order.
///
/// Errors: those of `Limits::check`, `TooMany`, `UnknownGroup`, `UnknownModel`.
pub fn plan(input: Input<'_>) -> Result<Plan, Error> {
    let limits = &input.policy.limits;
    limits.check()?;
    let sizer = Sizer::new(&input);
    let paces: Vec<_> = (0u32..)
        .zip(input.fleets)
        .map(|(model, fleet)| Pace::of(fleet, input.lanes(model), limits))
        .collect();
    let mut tally = Tally::take(&input, &sizer, &paces)?;

    let mut draft = Draft::new(input, sizer, tally.ordinals.len());
    let mut groups = empty_groups(&input, &sizer);
    let mut contexts = Vec::with_capacity(paces.len());
    let mut batches = Vec::with_capacity(paces.len());
    let mut duration = Some(Micros(0));
    for ((model, pace), loads) in (0u32..).zip(&paces).zip(&mut tally.loads) {
        let first = draft.chunks.len();
        let lanes = input.lanes(model);
        batches.push(reused(&input, model, loads));
        let even = spread(loads, lanes, limits.warm_factor);
        let bounds = Bounds::of(input.policy, pace, even);
        cut(&mut draft, &input, loads, &tally.ordinals, &bounds, &mut groups);
        let chunks = draft.chunks.get(first..).unwrap_or_default();
        let needed = chunks.iter().map(|chunk| chunk.context_needed).max();
        let estimated = tally.estimated.get(model as usize) == Some(&true);
        contexts.push(needed.map_or(Tokens(0), |needed| {
            tier(with_headroom(needed, estimated, limits), input.context(model), &limits.tiers)
        }));
        let span = span(&input, model, (loads, chunks));
        duration = duration.zip(span).map(|(sum, span)| Micros(sum.0.saturating_add(span.0)));
    }
    let summary = summarize(&input, &draft, &tally, &paces, duration);
    let Draft { order, chunks, .. } = draft;
    Ok(Plan { order, chunks, groups, rejected: tally.rejected, contexts, batches, summary })
}

// === impl Input ===

impl Input<'_> {
    /// Context of one slot: the client's word wins. 0 for a model without fleet.
    pub(crate) fn context(&self, model: u32) -> Tokens {
        let known = self.fleets.get(model as usize).map_or(Tokens(0), |fleet| fleet.context);
        self.policy.stated.max_context.unwrap_or(known)
    }

    pub(crate) fn lanes(&self, model: u32) -> u32 {
        self.fleets.get(model as usize).map_or(1, |fleet| fleet.lanes.max(1))
    }
}

// === impl Bounds ===

impl Bounds {
    /// `even` is the work of one lane, if all do the same.
    fn of(policy: &Policy, pace: &Pace, even: u64) -> Self {
        let limits = &policy.limits;
        let requests = policy.max_requests.map_or(limits.max_requests, |max| max.min(limits.max_requests));
        let own_time = match policy.strategy {
            Strategy::Independent => Some(limits.max_chunk_time),
            Strategy::Conversation => None,
        };
        let time = [own_time, policy.max_time].into_iter().flatten().min();
        let work = time.and_then(|time| pace.work_in(time)).unwrap_or(u64::MAX);
        let small = limits.lane_fraction.of(limits.lane_fraction.of(even));
        let small = small.max(pace.work_in(limits.min_chunk_time).unwrap_or(0));
        Self { requests: requests.get(), bytes: limits.max_payload.0, work, small }
    }
}

/// Decides whether prefixes are kept, and completes the loads by it. A conversation's prefix is what
/// came before, so a window does not lose it between two requests.
fn reused(input: &Input<'_>, model: u32, loads: &mut [Load]) -> Tokens {
    let fleet = input.fleets.get(model as usize).filter(|_| input.policy.strategy == Strategy::Independent);
    let batch = fleet.map_or(Tokens(0), |fleet| reuse::decide(fleet, loads));
    loads.iter_mut().for_each(Load::settle);
    batch
}

fn cut(
    draft: &mut Draft<'_>,
    input: &Input<'_>,
    loads: &[Load],
    ordinals: &[u32],
    bounds: &Bounds,
    groups: &mut [Group],
) {
    let limits = &input.policy.limits;
    let mut scratch = Vec::new();
    for load in loads {
        let of_group = (input.heads.get(load.group as usize), groups.get_mut(load.group as usize));
        let (Some(head), Some(group)) = of_group else { continue };
        let (first, own) = (draft.chunks.len(), load.ordinals(ordinals));
        match input.policy.strategy {
            Strategy::Independent => {
                independent::cut(draft, head, load, own, (limits, bounds), &mut scratch);
            }
            Strategy::Conversation => {
                conversation::cut(draft, head, load, own, (limits, bounds, input.context(load.model)));
            }
        }
        let chunks = draft.chunks.get(first..).unwrap_or_default();
        group.requests = load.requests;
        group.first_chunk = first as u32;
        group.chunks = chunks.len() as u32;
        group.shares = chunks.iter().map(|chunk| chunk.share + 1).max().unwrap_or(0);
        group.reuse = load.reuse;
    }
}

/// How long the chunks of one model take. `None` if its speed is not known.
fn span(input: &Input<'_>, model: u32, (loads, chunks): (&[Load], &[Chunk])) -> Option<Micros> {
    let (limits, lanes) = (&input.policy.limits, input.lanes(model));
    let prefixes: HashMap<u32, Option<Micros>> =
        loads.iter().map(|load| (load.group, load.pace.time_of(load.prefix()))).collect();
    let task = |chunk: &Chunk| {
        let prefix = prefixes.get(&chunk.group).copied().flatten()?;
        let (prefix, own) = match input.policy.strategy {
            Strategy::Independent if chunk.position > 0 => (prefix, chunk.estimated?),
            Strategy::Independent => (prefix, Micros(chunk.estimated?.0.saturating_sub(prefix.0))),
            // Every conversation begins with its prefix, and its time holds that.
            Strategy::Conversation => (Micros(0), chunk.estimated?),
        };
        let (group, share, worth_stealing) = (chunk.group, chunk.share, chunk.worth_stealing);
        Some(Task { group, share, worth_stealing, own, prefix })
    };
    let tasks: Vec<Task> = chunks.iter().map(task).collect::<Option<_>>()?;
    let fleet = input.fleets.get(model as usize)?;
    let work = |busy| {
        let pace = Pace::of(fleet, busy, limits);
        loads.iter().map(|load| load.work_at(&pace)).fold(0, u64::saturating_add) as f64
    };
    let all = work(lanes);
    Some(makespan(&tasks, lanes, |busy| all / work(busy)))
}

fn empty_groups(input: &Input<'_>, sizer: &Sizer<'_>) -> Vec<Group> {
    let heads = input.heads.iter();
    heads.map(|head| Group { prefix_tokens: Tokens(sizer.prefix(head)), ..Group::default() }).collect()
}

fn with_headroom(needed: Tokens, estimated: bool, limits: &Limits) -> Tokens {
    let more = if estimated { limits.estimate_headroom.of(needed.0) } else { 0 };
    Tokens(needed.0.saturating_add(more))
}
