//! The published numbers of the original system, which must come out exactly.

use crate::support::{fleet, head, planned, request, unmeasured};
use caravan_plan::{
    Error, Limits, Micros, Origin, Policy, StatedTokens, Strategy, Tokens, Warning, arithmetic,
};

const CONTEXT: Tokens = Tokens(128_000);
const SYSTEM: Tokens = Tokens(2_400);
const EXCHANGE: Tokens = Tokens(900);
const USER: Tokens = Tokens(600);

fn stated() -> Policy {
    Policy {
        strategy: Strategy::Conversation,
        stated: StatedTokens {
            max_context: Some(CONTEXT),
            system: Some(SYSTEM),
            exchange: Some(EXCHANGE),
            user: Some(USER),
        },
        ..Policy::default()
    }
}

#[test]
fn arithmetic_of_5_000_and_170_000() {
    let limits = Limits::default();
    let small = arithmetic(5_000, CONTEXT, SYSTEM, EXCHANGE, USER, &limits).unwrap();
    assert_eq!(small.budget.usable, Tokens(102_400));
    assert_eq!((small.exchanges, small.chunk_requests, small.chunks), (111, 88, 57));
    assert_eq!(small.largest_context, Tokens(81_600));
    assert_eq!(small.prompt_tokens_without, Tokens(15_000_000));
    assert_eq!(small.prompt_tokens_with, Tokens(3_136_800));
    assert_eq!(format!("{:.1}", small.savings() * 100.0), "79.1");
    assert_eq!(format!("{:.1}", small.prefix_savings() * 100.0), "98.9");

    let large = arithmetic(170_000, CONTEXT, SYSTEM, EXCHANGE, USER, &limits).unwrap();
    assert_eq!((large.chunk_requests, large.chunks), (88, 1_932));
}

#[test]
fn arithmetic_at_its_edges() {
    let limits = Limits::default();
    let none = arithmetic(0, CONTEXT, SYSTEM, EXCHANGE, USER, &limits).unwrap();
    assert_eq!((none.chunks, none.largest_context, none.savings()), (0, Tokens(0), 0.0));
    let tight = arithmetic(3, Tokens(4_125), SYSTEM, EXCHANGE, USER, &limits).unwrap();
    assert_eq!((tight.exchanges, tight.chunk_requests, tight.chunks), (1, 1, 3));
    let refused = arithmetic(3, Tokens(4_000), SYSTEM, EXCHANGE, USER, &limits);
    assert_eq!(refused, Err(Error::ExchangeTooLong { exchange: 900, room: 800 }));
}

#[test]
fn plan_of_stated_5_000() {
    // The counted numbers are wrong on purpose: what is stated wins.
    let requests = vec![request(0, 700, 0); 5_000];
    let plan = planned(&requests, &[head(100)], &[unmeasured(8)], &stated());
    assert_eq!(plan.chunks.len(), 57);
    let summary = &plan.summary;
    assert_eq!((summary.largest_chunk, summary.largest_context), (88, Tokens(81_600)));
    assert_eq!(summary.prompt_tokens_without, Tokens(15_000_000));
    assert_eq!(summary.prompt_tokens_with, Tokens(3_136_800));
    assert_eq!((summary.prefix_evaluations_without, summary.prefix_evaluations), (5_000, 57));
    assert_eq!(
        format!("{:.1} {:.1}", summary.savings() * 100.0, summary.prefix_savings() * 100.0),
        "79.1 98.9"
    );
    assert_eq!((summary.origin, summary.reserved_answer_tokens), (Origin::Stated, Tokens(300)));
    assert_eq!(plan.contexts, [CONTEXT]);
    assert!(summary.warnings.contains(&Warning::SpeedUnknown));
    assert!(plan.order.iter().copied().eq(0..5_000), "conversations keep input order");
    assert!(plan.chunks.iter().take(56).all(|chunk| chunk.requests() == 88));
    assert_eq!(plan.groups.first().map(|group| (group.chunks, group.shares)), Some((57, 8)));
}

#[test]
fn plan_of_counted_170_000() {
    let requests = vec![request(0, 3_000, 300); 170_000];
    let mut policy = stated();
    policy.stated = StatedTokens::default();
    let mut fleet = fleet(8);
    fleet.context = CONTEXT;
    let plan = planned(&requests, &[head(2_400)], &[fleet], &policy);
    assert_eq!(plan.chunks.len(), 1_932);
    assert_eq!(plan.summary.largest_context, Tokens(81_600));
    // 88 × (600 ÷ 2,000 + 300 ÷ 50) s and once 2,400 ÷ 2,000 s.
    assert_eq!(plan.chunks.first().and_then(|chunk| chunk.estimated), Some(Micros(555_600_000)));
}

#[test]
fn unequal_exchanges_fill_the_same_budget() {
    let requests: Vec<_> = (0..5_000).map(|i| request(0, 3_000, if i % 2 == 0 { 1 } else { 600 })).collect();
    let policy = Policy { strategy: Strategy::Conversation, ..Policy::default() };
    let mut fleet = fleet(8);
    fleet.context = CONTEXT;
    let plan = planned(&requests, &[head(2_400)], &[fleet], &policy);
    // Pairs of 601 + 1,200: 44 pairs are 79,244 tokens, and one short exchange more is 79,845.
    assert_eq!(plan.summary.largest_chunk, 89);
    assert_eq!(plan.summary.largest_context, Tokens(82_245));
}

#[test]
fn independent_reads_the_prefix_once_a_lane() {
    let requests = vec![request(0, 3_000, 300); 5_000];
    let plan = planned(&requests, &[head(2_400)], &[fleet(8)], &Policy::default());
    assert_eq!(plan.summary.prefix_evaluations, 8);
    assert_eq!(plan.summary.prompt_tokens_with, Tokens(8 * 2_400 + 5_000 * 600));
    assert_eq!(plan.summary.largest_context, Tokens(3_300));
    assert_eq!(plan.contexts, [Tokens(4_096)]);
}
