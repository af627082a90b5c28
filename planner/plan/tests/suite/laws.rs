//! What holds for every plan.

use std::{cmp::Reverse, num::NonZeroU32};

use caravan_plan::{
    Budget, Bytes, Chunk, Fleet, Head, Input, Limits, Micros, Origin, Plan, Policy, Request, Speed,
    StatedTokens, Strategy, Tokens, plan,
};
use proptest::{
    prelude::{Just, ProptestConfig, TestCaseError, any, prop},
    prop_assert, prop_assert_eq, prop_oneof, proptest,
    strategy::Strategy as Generator,
};

#[derive(Debug, Clone)]
struct Case {
    requests: Vec<Request>,
    heads: Vec<Head>,
    fleets: Vec<Fleet>,
    policy: Policy,
}

impl Case {
    fn plan(&self) -> Plan {
        let Self { requests, heads, fleets, policy } = self;
        plan(Input { requests, heads, fleets, policy }).unwrap()
    }

    fn head(&self, group: u32) -> &Head {
        &self.heads[group as usize]
    }

    fn context(&self, group: u32) -> u64 {
        let fleet = &self.fleets[self.head(group).model as usize];
        self.policy.stated.max_context.unwrap_or(fleet.context).0
    }

    /// Own prompt and answer, in tokens.
    fn exchange(&self, ordinal: u32) -> u64 {
        let request = &self.requests[ordinal as usize];
        let head = self.head(request.group);
        let own = u64::from(request.prompt_tokens.saturating_sub(head.prefix_tokens));
        let reserved = self.policy.limits.reserved_answer_tokens.0;
        let answer = request.answer_tokens.map_or(reserved, |tokens| tokens.get().into());
        own + if head.answers { answer } else { 0 }
    }

    /// Nanoseconds, or prompt tokens' worth where the speeds are not known.
    fn work(&self, ordinal: u32) -> u64 {
        let request = &self.requests[ordinal as usize];
        let head = self.head(request.group);
        let own = u64::from(request.prompt_tokens.saturating_sub(head.prefix_tokens));
        let fleet = &self.fleets[head.model as usize];
        let nanos = |seconds: f64| (seconds * 1e9).round() as u64;
        let at = fleet.speeds.iter().find(|speed| fleet.lanes.max(1) <= speed.lanes);
        let known = at.or(fleet.speeds.last()).filter(|speed| speed.prompt_seconds.is_finite());
        let cost = known.map(|speed| {
            let token = |seconds| nanos(seconds).max(1);
            (token(speed.prompt_seconds), token(speed.answer_seconds), nanos(speed.request_seconds))
        });
        let (prompt, answer, request) = cost.unwrap_or((1, 32, 0));
        own * prompt + (self.exchange(ordinal) - own) * answer + request
    }

    fn bytes(&self, ordinals: &[u32]) -> u64 {
        ordinals.iter().map(|&ordinal| u64::from(self.requests[ordinal as usize].bytes)).sum()
    }
}

fn heads() -> impl Generator<Value = Vec<Head>> {
    let head = (0..3u32, 0..3_000u32, 0..10_000u32, prop::bool::weighted(0.9));
    let head =
        head.prop_map(|(model, prefix_tokens, bytes, answers)| Head { model, prefix_tokens, bytes, answers });
    prop::collection::vec(head, 1..12)
}

fn requests(groups: u32) -> impl Generator<Value = Vec<Request>> {
    let tokens = prop_oneof![8 => 0..4_000u32, 1 => 0..40_000u32];
    let answer = prop_oneof![Just(0u32), 1..2_000u32];
    let bytes = prop_oneof![20 => 0..20_000u32, 1 => 0..2_000_000u32];
    let request = (0..groups, tokens, 1..=4u32, answer, bytes).prop_map(
        |(group, prompt_tokens, vague, answer, bytes)| Request {
            group,
            prompt_tokens,
            prompt_tokens_low: prompt_tokens / vague,
            answer_tokens: NonZeroU32::new(answer),
            bytes,
        },
    );
    prop::collection::vec(request, 0..400)
}

fn fleet() -> impl Generator<Value = Fleet> {
    let time = || prop_oneof![10 => 2e-4..1.0f64, 1 => Just(0.0), 1 => Just(f64::NAN)];
    let speed = (1..30u32, time(), 2e-4..1.0f64, 0.0..2.0f64).prop_map(
        |(lanes, prompt_seconds, answer_seconds, request_seconds)| Speed {
            lanes,
            prompt_seconds,
            answer_seconds,
            request_seconds,
        },
    );
    let speeds = prop::collection::vec(speed, 0..3);
    (0..40u32, any::<bool>(), 1_000..40_000u64, speeds).prop_map(|(lanes, lanes_known, context, speeds)| {
        Fleet {
            lanes,
            lanes_known,
            context: Tokens(context),
            speeds,
            sliding_window: None,
            reuse: Vec::new(),
            answer_share: None,
            reserve_share: None,
            origin: Origin::Reported,
        }
    })
}

fn policy() -> impl Generator<Value = Policy> {
    let strategy = prop_oneof![Just(Strategy::Independent), Just(Strategy::Conversation)];
    let context = prop::option::of((1_000..40_000u64).prop_map(Tokens));
    (strategy, 0..50u32, prop::option::of(0..100_000_000u64), context, 1..200_000u64).prop_map(
        |(strategy, max_requests, max_time, max_context, max_payload)| Policy {
            strategy,
            max_requests: NonZeroU32::new(max_requests),
            max_time: max_time.map(Micros),
            stated: StatedTokens { max_context, ..StatedTokens::default() },
            limits: Limits { max_payload: Bytes(max_payload), ..Limits::default() },
        },
    )
}

fn cases() -> impl Generator<Value = Case> {
    (heads(), prop::collection::vec(fleet(), 3), policy()).prop_flat_map(|(heads, fleets, policy)| {
        requests(heads.len() as u32).prop_map(move |requests| Case {
            requests,
            heads: heads.clone(),
            fleets: fleets.clone(),
            policy: policy.clone(),
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_request_is_rejected_or_in_one_chunk(case in cases()) {
        let plan = case.plan();
        let mut all = plan.order.clone();
        all.extend(plan.rejected.iter().map(|rejected| rejected.ordinal));
        all.sort_unstable();
        prop_assert!(all.into_iter().eq(0..case.requests.len() as u32));
        let mut end = 0;
        for chunk in &plan.chunks {
            prop_assert_eq!(chunk.start, end);
            prop_assert!(chunk.requests() > 0);
            end = chunk.end;
        }
        prop_assert_eq!(end as usize, plan.order.len());
    }

    #[test]
    fn only_the_lower_bound_rejects(case in cases()) {
        let plan = case.plan();
        prop_assert!(plan.rejected.is_sorted_by_key(|rejected| rejected.ordinal));
        let rejected = |ordinal| plan.rejected.binary_search_by_key(&ordinal, |r| r.ordinal).ok();
        for (ordinal, request) in (0u32..).zip(&case.requests) {
            let answer = request.answer_tokens.map_or(1, NonZeroU32::get);
            let answer = if case.head(request.group).answers { answer } else { 0 };
            let needed = u64::from(request.prompt_tokens_low) + u64::from(answer);
            let index = rejected(ordinal);
            prop_assert_eq!(index.is_some(), needed > case.context(request.group));
            if let Some(rejected) = index.map(|index| plan.rejected[index]) {
                prop_assert_eq!(rejected.needed, Tokens(needed));
                prop_assert_eq!(rejected.limit, Tokens(case.context(request.group)));
            }
        }
    }

    #[test]
    fn chunks_are_of_one_group_and_pass_no_bound(case in cases()) {
        let plan = case.plan();
        let Policy { strategy, max_requests, max_time, limits, .. } = &case.policy;
        for chunk in &plan.chunks {
            let ordinals = plan.ordinals(chunk);
            prop_assert!(ordinals.iter().all(|&o| case.requests[o as usize].group == chunk.group));
            let bytes = u64::from(case.head(chunk.group).bytes) + case.bytes(ordinals);
            prop_assert_eq!(chunk.bytes, Bytes(bytes));
            prop_assert!(chunk.context_needed.0 <= case.context(chunk.group));
            prop_assert!(max_requests.is_none_or(|max| chunk.requests() <= max.get()));
            if chunk.requests() == 1 {
                continue;
            }
            prop_assert!(bytes <= limits.max_payload.0);
            let within = |bound: Micros| chunk.estimated.is_none_or(|time| time <= bound);
            prop_assert!(max_time.is_none_or(within));
            match strategy {
                Strategy::Independent => prop_assert!(within(limits.max_chunk_time)),
                Strategy::Conversation => conversation_fits(&case, chunk, ordinals)?,
            }
        }
    }

    #[test]
    fn promised_order_is_kept(case in cases()) {
        let plan = case.plan();
        for group in &plan.groups {
            let chunks = &plan.chunks[group.first_chunk as usize..][..group.chunks as usize];
            let range = chunks.first().map_or(0, |c| c.start)..chunks.last().map_or(0, |c| c.end);
            let order = &plan.order[range.start as usize..range.end as usize];
            prop_assert_eq!(order.len(), group.requests as usize);
            if case.policy.strategy == Strategy::Conversation {
                prop_assert!(order.is_sorted());
            }
            shares_are_whole(chunks, group.shares)?;
        }
        if case.policy.strategy == Strategy::Independent {
            for (before, after) in plan.chunks.iter().zip(plan.chunks.iter().skip(1)) {
                let same = (before.group, before.share) == (after.group, after.share);
                let both = [plan.ordinals(before), plan.ordinals(after)].concat();
                let ordinals = if same { both.as_slice() } else { plan.ordinals(before) };
                prop_assert!(ordinals.is_sorted_by_key(|&o| (Reverse(case.work(o)), o)));
            }
        }
    }

    #[test]
    fn numbers_add_up(case in cases()) {
        let plan = case.plan();
        let prefix = |group: u32| u64::from(case.head(group).prefix_tokens);
        let own = |o: &u32| {
            let request = &case.requests[*o as usize];
            u64::from(request.prompt_tokens).saturating_sub(prefix(request.group)).max(1)
        };
        let cold = |chunk: &&Chunk| case.policy.strategy == Strategy::Conversation || chunk.position == 0;
        let prefixes: Vec<_> = plan.chunks.iter().filter(cold).map(|chunk| prefix(chunk.group)).collect();
        let owns: u64 = plan.order.iter().map(own).sum();
        let summary = &plan.summary;
        prop_assert_eq!(summary.prompt_tokens_with.0, prefixes.iter().sum::<u64>() + owns);
        prop_assert_eq!(summary.prefix_evaluations, prefixes.iter().filter(|&&p| p > 0).count() as u64);
        // An engine evaluates the last token of a prompt, even if that is shared.
        prop_assert!(summary.prompt_tokens_with.0 <= summary.prompt_tokens_without.0 + summary.requests);
        prop_assert!((0.0..=1.0).contains(&summary.savings()));
        prop_assert_eq!(summary.requests as usize, plan.order.len());
        for (model, (&loaded, fleet)) in (0u32..).zip(plan.contexts.iter().zip(&case.fleets)) {
            let of_model = plan.chunks.iter().filter(|chunk| case.head(chunk.group).model == model);
            let needed = of_model.map(|chunk| chunk.context_needed).max();
            let limit = case.policy.stated.max_context.unwrap_or(fleet.context);
            prop_assert!(needed.map_or(loaded == Tokens(0), |needed| needed <= loaded && loaded <= limit));
        }
    }

    #[test]
    fn a_batch_takes_as_long_as_its_lanes_need(case in cases()) {
        let plan = case.plan();
        // Fewer lanes may be faster, and then the end comes sooner than at the speed of all.
        let one_speed = case.fleets.iter().all(|fleet| fleet.speeds.len() < 2);
        if let Some(span) = plan.summary.estimated_duration.filter(|_| one_speed) {
            let most = case.fleets.iter().map(|fleet| fleet.lanes.max(1)).max().map_or(1, u64::from);
            let own: u64 = plan.order.iter().map(|&ordinal| case.work(ordinal)).sum();
            prop_assert!(span.0 * most >= own / 1_000, "{span:?} for {own} ns");
            let longest = plan.chunks.iter().filter_map(|chunk| chunk.estimated).max();
            prop_assert!(longest <= Some(span));
        }
    }

    #[test]
    fn same_input_same_plan(case in cases()) {
        prop_assert_eq!(case.plan(), case.clone().plan());
    }
}

fn conversation_fits(case: &Case, chunk: &Chunk, ordinals: &[u32]) -> Result<(), TestCaseError> {
    let prefix = u64::from(case.head(chunk.group).prefix_tokens);
    let budget = Budget::new(Tokens(case.context(chunk.group)), Tokens(prefix), &case.policy.limits);
    let exchanges: u64 = ordinals.iter().map(|&ordinal| case.exchange(ordinal)).sum();
    prop_assert!(exchanges <= budget.chunk.0);
    prop_assert_eq!(chunk.context_needed.0, (prefix + exchanges).min(case.context(chunk.group)));
    Ok(())
}

/// Every share 0 to `shares - 1` has the positions 0 to its last, in ascending chunk numbers.
fn shares_are_whole(chunks: &[Chunk], shares: u32) -> Result<(), TestCaseError> {
    let mut next = vec![0; shares as usize];
    for chunk in chunks {
        prop_assert_eq!(chunk.position, next[chunk.share as usize]);
        next[chunk.share as usize] += 1;
    }
    prop_assert!(next.iter().all(|&positions| positions > 0));
    Ok(())
}
