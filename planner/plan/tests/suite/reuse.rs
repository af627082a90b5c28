//! Sliding windows and learned answers: what the plan expects of engines.

use caravan_plan::{Fleet, Policy, Ratio, Reuse, ReusePoint, Strategy, Tokens, Warning};

use crate::support::{fleet, head, planned, request};

fn sliding(window: u64) -> Fleet {
    Fleet { sliding_window: Some(Tokens(window)), ..fleet(4) }
}

#[test]
fn a_prefix_within_the_window_is_evaluated_with_every_request() {
    let (heads, window) = ([head(500), head(600)], Tokens(512));
    let requests: Vec<_> = (0..200).map(|n| request(n % 2, 700, 10)).collect();
    let plan = planned(&requests, &heads, &[sliding(512)], &Policy::default());
    assert_eq!(plan.groups[0].reuse, Reuse::WithinWindow { window });
    assert_eq!(plan.groups[1].reuse, Reuse::Kept);
    let again: u64 = plan.chunks.iter().filter(|chunk| chunk.group == 0).map(|c| c.prompt_tokens.0).sum();
    assert_eq!(again, 100 * 700);
    assert!(plan.summary.warnings.contains(&Warning::PrefixesNotKept { groups: 1, requests: 100 }));
    let slow =
        plan.chunks.iter().filter(|c| c.group == 0).filter_map(|c| c.estimated).map(|t| t.0).sum::<u64>();
    let quick =
        plan.chunks.iter().filter(|c| c.group == 1).filter_map(|c| c.estimated).map(|t| t.0).sum::<u64>();
    assert!(slow > quick, "{slow} {quick}");
}

#[test]
fn the_batch_fits_what_follows_the_prefix_but_for_outliers() {
    let batch = |own: &[u32]| {
        let requests: Vec<_> = own.iter().map(|own| request(0, 1_000 + own, 10)).collect();
        planned(&requests, &[head(1_000)], &[sliding(512)], &Policy::default())
    };
    assert_eq!(batch(&[512; 100]).batches, [Tokens(512)]);
    assert_eq!(batch(&[513; 100]).batches, [Tokens(1_024)]);
    let mut one_long = [100; 100];
    one_long[50] = 2_000;
    assert_eq!(batch(&one_long).batches, [Tokens(512)]);
    one_long[51] = 2_000;
    assert_eq!(batch(&one_long).batches, [Tokens(2_048)]);
    let beyond = batch(&[3_000; 100]);
    assert_eq!(beyond.groups[0].reuse, Reuse::BeyondBatch { largest: Tokens(2_048) });
    assert_eq!(beyond.batches, [Tokens(0)]);
}

fn point(prefix: u64, own: u64, batch: u64, kept: bool) -> ReusePoint {
    ReusePoint { prefix: Tokens(prefix), own: Tokens(own), batch: Tokens(batch), kept }
}

/// What the plan expects of 100 requests of `own` tokens on `prefix`.
fn expected(fleet: &Fleet, prefix: u32, own: u32) -> (Reuse, u64) {
    let requests = vec![request(0, prefix + own, 10); 100];
    let plan = planned(&requests, &[head(prefix)], std::slice::from_ref(fleet), &Policy::default());
    (plan.groups[0].reuse, plan.batches[0].0)
}

#[test]
fn what_was_measured_wins_over_the_window() {
    let measured = |points: &[ReusePoint]| Fleet { reuse: points.to_vec(), ..sliding(512) };
    let fleet = measured(&[
        point(256, 100, 0, false),
        point(1_024, 100, 0, true),
        point(4_096, 1_500, 0, false),
        point(4_096, 1_500, 1_024, false),
        point(4_096, 1_500, 2_048, true),
    ]);
    // Between two lengths the shorter one tells; before the first, the first.
    assert_eq!(expected(&fleet, 100, 50), (Reuse::Refuted { point: 0 }, 0));
    assert_eq!(expected(&fleet, 600, 50), (Reuse::Refuted { point: 0 }, 0));
    assert_eq!(expected(&fleet, 1_024, 50), (Reuse::Kept, 0));
    assert_eq!(expected(&fleet, 2_000, 512), (Reuse::Kept, 0));
    // No batch was measured that keeps this length with so much behind it.
    assert_eq!(expected(&fleet, 2_000, 700), (Reuse::BeyondBatch { largest: Tokens(512) }, 0));
    assert_eq!(expected(&fleet, 5_000, 700), (Reuse::Kept, 2_048));
    assert_eq!(expected(&fleet, 5_000, 3_000), (Reuse::Refuted { point: 2 }, 0));
    // A prefix within the window that is kept: the engine holds more than the window.
    let full = measured(&[point(256, 100, 0, true), point(1_024, 100, 0, true)]);
    assert_eq!(expected(&full, 300, 3_000), (Reuse::Kept, 0));
}

#[test]
fn a_model_that_keeps_nothing_is_planned_so() {
    let recurrent = Fleet { reuse: vec![point(512, 100, 0, false), point(2_048, 100, 0, false)], ..fleet(4) };
    assert_eq!(expected(&recurrent, 600, 50), (Reuse::Refuted { point: 0 }, 0));
    assert_eq!(expected(&recurrent, 3_000, 50), (Reuse::Refuted { point: 1 }, 0));
    // Kept up to a checkpoint only: short parts may follow, long ones not.
    let checkpoint = [point(1_024, 64, 0, true), point(1_024, 640, 0, false)];
    let hybrid = Fleet { reuse: checkpoint.to_vec(), ..fleet(4) };
    assert_eq!(expected(&hybrid, 2_000, 500), (Reuse::Kept, 0));
    assert_eq!(expected(&hybrid, 2_000, 700), (Reuse::Refuted { point: 1 }, 0));
    let whole = Fleet { reuse: vec![point(512, 100, 0, true)], ..fleet(4) };
    assert_eq!(expected(&whole, 100, 5_000), (Reuse::Kept, 0));
}

#[test]
fn full_attention_and_conversations_leave_the_batch_to_the_engine() {
    let requests = vec![request(0, 700, 10); 50];
    let plain = planned(&requests, &[head(500)], &[fleet(4)], &Policy::default());
    assert_eq!((plain.groups[0].reuse, plain.batches), (Reuse::Kept, vec![Tokens(0)]));
    let policy = Policy { strategy: Strategy::Conversation, ..Policy::default() };
    let chats = planned(&requests, &[head(500)], &[sliding(512)], &policy);
    assert_eq!((chats.groups[0].reuse, chats.batches), (Reuse::Kept, vec![Tokens(0)]));
}

#[test]
fn learned_answers_shorten_the_time_and_not_the_context() {
    let requests = vec![request(0, 500, 400); 80];
    let learned = Fleet { answer_share: Ratio::from_decimal(0.1), ..fleet(4) };
    let full = planned(&requests, &[head(400)], &[fleet(4)], &Policy::default()).summary;
    let short = planned(&requests, &[head(400)], &[learned], &Policy::default()).summary;
    assert_eq!((full.output_tokens, full.output_learned), (Tokens(32_000), false));
    assert_eq!((short.output_tokens, short.output_learned), (Tokens(3_200), true));
    assert_eq!(full.largest_context, short.largest_context);
    assert!(short.lane_time.unwrap() < full.lane_time.unwrap());
}

#[test]
fn chunks_are_counted_by_size() {
    let requests = vec![request(0, 500, 40); 1_000];
    let plan = planned(&requests, &[head(400)], &[fleet(4)], &Policy::default());
    let bins = &plan.summary.chunk_bins;
    assert_eq!(bins.iter().map(|bin| bin.chunks as usize).sum::<usize>(), plan.chunks.len());
    for bin in bins {
        let within = |size: u32| size <= bin.max_requests && size > bin.max_requests / 2;
        let chunks = plan.chunks.iter().filter(|chunk| within(chunk.requests())).count();
        assert_eq!(chunks, bin.chunks as usize, "{bin:?}");
    }
}

#[test]
fn a_theft_is_worth_it_while_the_rest_of_the_share_outlasts_the_prefix() {
    let requests = vec![request(0, 2_050, 1); 400];
    let plan = planned(&requests, &[head(2_000)], &[fleet(4)], &Policy::default());
    let prefix = 2_000 * 1_000_000 / 2_000;
    for (index, chunk) in plan.chunks.iter().enumerate().filter(|(_, chunk)| chunk.position > 0) {
        let rest = plan.chunks[index..].iter().take_while(|other| other.share == chunk.share);
        let left: u64 = rest.map(|chunk| chunk.estimated.unwrap().0).sum();
        assert_eq!(chunk.worth_stealing, left >= prefix, "{chunk:?}");
    }
    let worth = plan.chunks.iter().filter(|chunk| chunk.worth_stealing).count();
    assert!(0 < worth && worth < plan.chunks.len(), "{worth} of {}", plan.chunks.len());
}
