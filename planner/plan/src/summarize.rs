use crate::{
    Bytes, Chunk, ChunkBin, Input, Micros, Origin, Reuse, Summary, Tokens, Warning, draft::Draft,
    tally::Tally, work::Pace,
};

/// The plan in numbers; `duration` is that of all models together.
pub(crate) fn summarize(
    input: &Input<'_>,
    draft: &Draft<'_>,
    tally: &Tally,
    paces: &[Pace],
    duration: Option<Micros>,
) -> Summary {
    let chunks = &draft.chunks;
    let used = |model: u32| tally.loads.get(model as usize).is_some_and(|loads| !loads.is_empty());
    let models = || (0u32..).zip(input.fleets).filter(|&(model, _)| used(model));
    let origins = models().map(|(_, fleet)| fleet.origin).max();
    let stated = input.policy.stated.max_context.map(|_| Origin::Stated);
    Summary {
        requests: draft.order.len() as u64,
        estimated_requests: tally.estimated_requests,
        groups: tally.loads.iter().map(|loads| loads.len() as u64).sum(),
        largest_chunk: chunks.iter().map(|chunk| chunk.requests()).max().unwrap_or(0),
        largest_context: chunks.iter().map(|chunk| chunk.context_needed).max().unwrap_or_default(),
        prompt_tokens_without: Tokens(tally.prompt_tokens_without),
        prompt_tokens_with: Tokens(
            chunks.iter().fold(0, |sum, chunk| chunk.prompt_tokens.0.saturating_add(sum)),
        ),
        prefix_evaluations_without: tally.prefix_evaluations_without,
        prefix_evaluations: draft.prefix_evaluations,
        lanes: models().map(|(model, _)| input.lanes(model)).max().unwrap_or(0),
        estimated_duration: duration,
        output_tokens: Tokens(tally.output_tokens),
        allowed_tokens: Tokens(tally.allowed_tokens),
        unstated_requests: tally.unstated,
        output_learned: tally.output_tokens > 0 && tally.unlearned == 0,
        lane_time: chunks
            .iter()
            .try_fold(Micros(0), |sum, chunk| Some(Micros(sum.0.saturating_add(chunk.estimated?.0)))),
        payload: Bytes(chunks.iter().fold(0, |sum, chunk| sum.saturating_add(chunk.bytes.0))),
        chunk_bins: bins(chunks),
        reserved_answer_tokens: draft.sizer.reserved(),
        origin: stated.or(origins).unwrap_or(Origin::Configured),
        warnings: warnings(input, draft, tally, |model| {
            used(model).then(|| paces.get(model as usize)).flatten().copied()
        }),
    }
}

fn bins(chunks: &[Chunk]) -> Vec<ChunkBin> {
    let mut counts = [0; u32::BITS as usize];
    for chunk in chunks {
        let power = (chunk.requests().max(1) - 1).checked_ilog2().map_or(0, |power| power + 1);
        if let Some(count) = counts.get_mut(power as usize) {
            *count += 1;
        }
    }
    let bins = (0..u32::BITS).zip(counts).filter(|&(_, chunks)| chunks > 0);
    bins.map(|(power, chunks)| ChunkBin { max_requests: 1 << power, chunks }).collect()
}

fn warnings(
    input: &Input<'_>,
    draft: &Draft<'_>,
    tally: &Tally,
    pace: impl Fn(u32) -> Option<Pace>,
) -> Vec<Warning> {
    let models = || (0u32..).zip(input.fleets).filter_map(|(model, fleet)| Some((fleet, pace(model)?)));
    let assumed = models().filter(|(fleet, _)| !fleet.lanes_known).map(|(fleet, _)| fleet.lanes.max(1)).max();
    let slow = models().any(|(_, pace)| !pace.known());
    let fleet = models().map(|(fleet, _)| fleet.context).min();
    let stated = input.policy.stated.max_context.zip(fleet).filter(|(stated, fleet)| stated > fleet);
    let some = |requests: u64| (requests > 0).then_some(requests);
    let again = || tally.loads.iter().flatten().filter(|load| load.reuse != Reuse::Kept);
    let lost: u64 = again().map(|load| u64::from(load.requests)).sum();
    [
        assumed.map(|lanes| Warning::LanesUnknown { lanes }),
        slow.then_some(Warning::SpeedUnknown),
        (slow && input.policy.max_time.is_some()).then_some(Warning::TimeBoundIgnored),
        stated.map(|(stated, fleet)| Warning::StatedContextAboveFleet { stated, fleet }),
        some(tally.estimated_requests).map(|requests| Warning::TokensEstimated { requests }),
        some(lost).map(|requests| Warning::PrefixesNotKept { groups: again().count() as u64, requests }),
        some(draft.too_long).map(|requests| Warning::ConversationsOfOne { requests }),
        some(draft.too_large).map(|requests| Warning::PayloadsTooLarge { requests }),
    ]
    .into_iter()
    .flatten()
    .collect()
}
