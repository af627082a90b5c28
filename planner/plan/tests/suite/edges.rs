//! Inputs at the edge, and large ones.

use std::num::NonZeroU32;

use crate::support::{Numbers, fleet, head, planned, request, unmeasured};
use caravan_plan::{
    Bytes, Error, Head, Input, Limits, Micros, Policy, Ratio, Request, StatedTokens, Strategy, Tokens,
    Warning, plan,
};

const BOTH: [Strategy; 2] = [Strategy::Independent, Strategy::Conversation];

fn policy(strategy: Strategy) -> Policy {
    Policy { strategy, ..Policy::default() }
}

#[test]
fn nothing_to_plan() {
    for strategy in BOTH {
        let plan = planned(&[], &[], &[], &policy(strategy));
        assert!(plan.chunks.is_empty() && plan.summary.warnings.is_empty());
        assert_eq!(plan.summary.savings(), 0.0);
        let plan = planned(&[], &[head(10)], &[fleet(0)], &policy(strategy));
        assert_eq!((plan.groups.len(), plan.contexts), (1, vec![Tokens(0)]));
        assert_eq!(plan.summary.estimated_duration, Some(Micros(0)));
    }
}

#[test]
fn one_too_long_does_not_fail_the_rest() {
    for strategy in BOTH {
        let mut requests = vec![request(0, 500, 10); 20];
        requests[7] = request(0, 32_760, 10);
        requests[8] = request(0, 32_768, 0);
        requests[9] = request(0, 32_767, 0);
        let plan = planned(&requests, &[head(400)], &[fleet(4)], &policy(strategy));
        let rejected: Vec<_> = plan.rejected.iter().map(|r| (r.ordinal, r.needed.0, r.limit.0)).collect();
        assert_eq!(rejected, [(7, 32_770, 32_768), (8, 32_769, 32_768)]);
        assert_eq!(plan.order.len(), 18);
    }
}

#[test]
fn an_estimate_rejects_by_its_lower_bound_and_loads_with_headroom() {
    let vague =
        |prompt_tokens, prompt_tokens_low| Request { prompt_tokens_low, ..request(0, prompt_tokens, 96) };
    let plan = planned(
        &[vague(40_000, 10_000), vague(400_000, 100_000)],
        &[head(0)],
        &[fleet(1)],
        &Policy::default(),
    );
    assert_eq!(plan.order, [0]);
    assert_eq!(plan.contexts, [Tokens(32_768)]);
    let plan = planned(&[vague(1_904, 500)], &[head(0)], &[fleet(1)], &Policy::default());
    assert_eq!((plan.summary.largest_context, plan.contexts), (Tokens(2_000), vec![Tokens(4_096)]));
    assert!(plan.summary.warnings.contains(&Warning::TokensEstimated { requests: 1 }));
    let plan = planned(&[request(0, 1_904, 96)], &[head(0)], &[fleet(1)], &Policy::default());
    assert_eq!(plan.contexts, [Tokens(2_048)]);
}

#[test]
fn a_request_beyond_a_budget_goes_alone() {
    let mut policy = policy(Strategy::Conversation);
    policy.limits.max_payload = Bytes(20_000);
    let mut requests = vec![request(0, 500, 100); 9];
    requests[4] = request(0, 25_000, 100);
    let plan = planned(&requests, &[head(400)], &[fleet(4)], &policy);
    let alone: Vec<_> = plan.chunks.iter().map(|chunk| (chunk.start, chunk.requests())).collect();
    assert_eq!(alone, [(0, 4), (4, 1), (5, 4)]);
    assert!(plan.summary.warnings.contains(&Warning::ConversationsOfOne { requests: 1 }));
    assert!(plan.summary.warnings.contains(&Warning::PayloadsTooLarge { requests: 1 }));
}

#[test]
fn client_bounds_hold() {
    for strategy in BOTH {
        let mut policy = policy(strategy);
        policy.max_requests = NonZeroU32::new(3);
        let requests = vec![request(0, 1_000, 25); 100];
        let plan = planned(&requests, &[head(800)], &[fleet(2)], &policy);
        assert_eq!(plan.summary.largest_chunk, 3);
        policy.max_time = Some(Micros(1_700_000));
        // 0.6 s each, and 0.4 s for the prefix.
        let plan = planned(&requests, &[head(800)], &[fleet(2)], &policy);
        assert_eq!(plan.summary.largest_chunk, 2);
        let plan = planned(&requests, &[head(800)], &[unmeasured(2)], &policy);
        assert!(plan.summary.warnings.contains(&Warning::TimeBoundIgnored));
        assert_eq!(plan.summary.estimated_duration, None);
    }
}

#[test]
fn embeddings_reserve_no_answer() {
    let head = Head { answers: false, ..head(0) };
    let plan = planned(&[request(0, 32_768, 0)], &[head], &[fleet(1)], &Policy::default());
    assert_eq!((plan.rejected.len(), plan.summary.largest_context), (0, Tokens(32_768)));
}

#[test]
fn models_are_planned_side_by_side() {
    let heads = [head(100), Head { model: 1, ..head(50) }, head(20)];
    let requests: Vec<_> = (0..300).map(|i| request(i % 3, 5_000 * (i % 3) + 200, 10)).collect();
    let mut unknown = unmeasured(2);
    unknown.lanes_known = false;
    let plan = planned(&requests, &heads, &[fleet(4), unknown], &Policy::default());
    assert_eq!(plan.contexts, [Tokens(16_384), Tokens(8_192)]);
    let models: Vec<_> = plan.chunks.iter().map(|chunk| heads[chunk.group as usize].model).collect();
    assert!(models.is_sorted());
    assert_eq!(plan.summary.warnings, [Warning::LanesUnknown { lanes: 2 }, Warning::SpeedUnknown]);
    assert!(plan.chunks.iter().all(|c| c.estimated.is_some() == (heads[c.group as usize].model == 0)));
}

#[test]
fn wrong_references_and_limits_are_refused() {
    let (requests, heads, fleets) = ([request(1, 10, 1)], [head(0)], [fleet(1)]);
    let mut policy = Policy::default();
    let input = Input { requests: &requests, heads: &heads, fleets: &fleets, policy: &policy };
    assert_eq!(plan(input), Err(Error::UnknownGroup { ordinal: 0, group: 1 }));
    assert_eq!(plan(Input { fleets: &[], ..input }), Err(Error::UnknownModel { group: 0, model: 0 }));
    policy.limits = Limits { chunk_margin: Ratio::from_millionths(1_000_001), ..Limits::default() };
    let refused = plan(Input { requests: &[], heads: &[], fleets: &[], policy: &policy });
    assert_eq!(refused, Err(Error::RatioOutOfRange { field: "chunk_margin", value: 1.000_001 }));
    policy.limits = Limits { tiers: vec![Tokens(2), Tokens(1)], ..Limits::default() };
    let refused = plan(Input { requests: &[], heads: &[], fleets: &[], policy: &policy });
    assert_eq!(refused, Err(Error::TiersNotAscending));
}

#[test]
fn the_largest_numbers_do_not_overflow() {
    let huge = Some(Tokens(u64::MAX));
    for strategy in BOTH {
        let mut policy = policy(strategy);
        policy.stated = StatedTokens { max_context: huge, system: huge, exchange: huge, user: huge };
        policy.max_time = Some(Micros(u64::MAX));
        let mut slow = fleet(u32::MAX);
        slow.speeds[0].answer_seconds = f64::MAX;
        let largest = Request { bytes: u32::MAX, ..request(0, 1, u32::MAX) };
        let plan = planned(&[largest; 9], &[head(u32::MAX / 4)], &[slow], &policy);
        assert_eq!(plan.order.len() + plan.rejected.len(), 9);
    }
}

/// A million of each kind; the shapes that invite quadratic time. Each takes well under a second.
#[test]
fn a_million_requests_of_any_shape() {
    const MILLION: u32 = 1_000_000;
    let mut numbers = Numbers(1);
    for strategy in BOTH {
        let equal = vec![request(0, 200, 10); MILLION as usize];
        let plan = planned(&equal, &[head(100)], &[fleet(8)], &policy(strategy));
        assert!(plan.chunks.len() < 20_000, "{} chunks", plan.chunks.len());

        let unequal: Vec<_> = (0..MILLION).map(|_| request(0, 100 + numbers.next(3_000), 10)).collect();
        assert_eq!(
            planned(&unequal, &[head(100)], &[fleet(8)], &policy(strategy)).order.len(),
            unequal.len()
        );

        let of_ten: Vec<_> = (0..MILLION).map(|i| request(i % 100_000, 200, 10)).collect();
        let plan = planned(&of_ten, &vec![head(100); 100_000], &[fleet(64)], &policy(strategy));
        assert_eq!((plan.chunks.len(), plan.summary.groups), (100_000, 100_000));
    }
}

#[test]
fn a_hundred_thousand_groups_of_one() {
    for strategy in BOTH {
        let requests: Vec<_> = (0..100_000).map(|group| request(group, 200, 10)).collect();
        let plan = planned(&requests, &vec![head(100); 100_000], &[fleet(8)], &policy(strategy));
        assert_eq!((plan.chunks.len(), plan.summary.savings()), (100_000, 0.0));
        assert_eq!(plan.groups.iter().map(|group| group.shares).max(), Some(1));
    }
}
