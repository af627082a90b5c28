//! How good plans are: lanes run them as `Chunk` says, and prefixes and idle time are counted.

use crate::support::{Numbers, fleet, head, planned, request, unmeasured};
use caravan_plan::{Chunk, Fleet, Head, Input, Plan, Policy, Request, Strategy};

/// What happened: seconds to the end, and prompt tokens evaluated.
#[derive(Debug)]
struct Run {
    seconds: f64,
    evaluated: u64,
}

const PREFILL: f64 = 2_000.0;
const DECODE: f64 = 50.0;

/// Lanes take chunks: the next of their share, else the lowest (position, number). A lane keeps one prefix.
/// Lane 0 takes `slowness` times as long as planned.
fn run(plan: &Plan, input: &Input<'_>, lanes: usize, slowness: f64) -> Run {
    let mut free: Vec<bool> = vec![true; plan.chunks.len()];
    let mut claims: Vec<usize> = (0..plan.chunks.len()).collect();
    claims.sort_by_key(|&number| (plan.chunks[number].position, number));
    let mut claims = claims.into_iter();
    let mut at = vec![(0.0f64, None::<Chunk>); lanes];
    let (mut evaluated, mut left) = (0, plan.chunks.len());
    while left > 0 {
        let lane = (0..lanes).min_by(|&a, &b| at[a].0.total_cmp(&at[b].0)).unwrap();
        let (clock, warm) = at[lane];
        let follows = |number: &usize| {
            let next = &plan.chunks[*number];
            free[*number]
                && warm.is_some_and(|w| {
                    (w.group, w.share, w.position + 1) == (next.group, next.share, next.position)
                })
        };
        let of_group = warm.map_or(0..0, |w| {
            let group = &plan.groups[w.group as usize];
            group.first_chunk as usize..(group.first_chunk + group.chunks) as usize
        });
        let number = of_group.into_iter().find(follows).or_else(|| claims.find(|&number| free[number]));
        let number = number.unwrap();
        free[number] = false;
        left -= 1;
        let chunk = plan.chunks[number];
        let prefix = u64::from(input.heads[chunk.group as usize].prefix_tokens);
        let cold = warm.is_none_or(|w| w.group != chunk.group);
        let mut prompt = if cold { prefix } else { 0 };
        let mut answer = 0u64;
        for &ordinal in plan.ordinals(&chunk) {
            let request = &input.requests[ordinal as usize];
            prompt += u64::from(request.prompt_tokens) - prefix;
            answer += request.answer_tokens.map_or(0, |tokens| u64::from(tokens.get()));
        }
        evaluated += prompt;
        let time = prompt as f64 / PREFILL + answer as f64 / DECODE;
        at[lane] = (clock + time * if lane == 0 { slowness } else { 1.0 }, Some(chunk));
    }
    Run { seconds: at.iter().map(|&(clock, _)| clock).fold(0.0, f64::max), evaluated }
}

/// The least possible: each prefix once, and all lanes busy to the end.
fn floor(requests: &[Request], heads: &[Head], lanes: usize) -> Run {
    let prefixes: u64 = heads.iter().map(|head| u64::from(head.prefix_tokens)).sum();
    let own = |r: &Request| u64::from(r.prompt_tokens - heads[r.group as usize].prefix_tokens);
    let evaluated = prefixes + requests.iter().map(own).sum::<u64>();
    let answers: u64 = requests.iter().filter_map(|r| r.answer_tokens).map(|t| u64::from(t.get())).sum();
    Run { seconds: (evaluated as f64 / PREFILL + answers as f64 / DECODE) / lanes as f64, evaluated }
}

fn both(requests: &[Request], heads: &[Head], fleet: Fleet) -> (Plan, Run, Run) {
    let (policy, lanes) = (Policy::default(), fleet.lanes as usize);
    let fleets = [fleet];
    let plan = planned(requests, heads, &fleets, &policy);
    let run = run(&plan, &Input { requests, heads, fleets: &fleets, policy: &policy }, lanes, 1.0);
    (plan, run, floor(requests, heads, lanes))
}

fn assert_near(actual: f64, ideal: f64, what: &str) {
    assert!(actual <= ideal * 1.05, "{what}: {actual} is more than 5 % above {ideal}");
}

#[test]
fn equal_requests_over_8_lanes() {
    for fleet in [fleet(8), unmeasured(8)] {
        let requests = vec![request(0, 200, 1); 2_000];
        let (plan, run, ideal) = both(&requests, &[head(100)], fleet);
        assert_near(run.seconds, ideal.seconds, "seconds");
        assert_eq!(plan.summary.prefix_evaluations, 8);
        assert!(plan.chunks.len() < 8 * 16, "{} chunks", plan.chunks.len());
    }
}

#[test]
fn the_tail_of_a_slow_lane_is_shared_out() {
    let requests = vec![request(0, 200, 1); 2_000];
    let (heads, fleets, policy) = ([head(100)], [fleet(8)], Policy::default());
    let plan = planned(&requests, &heads, &fleets, &policy);
    let input = Input { requests: &requests, heads: &heads, fleets: &fleets, policy: &policy };
    let ideal = floor(&requests, &heads, 8).seconds * 8.0 / (7.0 + 1.0 / 1.1);
    assert_near(run(&plan, &input, 8, 1.1).seconds, ideal, "seconds");
}

#[test]
fn the_estimate_comes_true() {
    let requests = vec![request(0, 200, 1); 2_000];
    let (plan, run, _) = both(&requests, &[head(100)], fleet(8));
    let estimated = plan.summary.estimated_duration.unwrap().0 as f64 / 1e6;
    assert!((estimated / run.seconds - 1.0).abs() < 0.05, "estimated {estimated}, ran {}", run.seconds);
}

#[test]
fn uneven_requests_over_8_lanes() {
    for seed in 0..20 {
        let mut numbers = Numbers(seed);
        let requests: Vec<_> = (0..2_000)
            .map(|_| {
                let long = if numbers.next(50) == 0 { 2_000 } else { 0 };
                request(0, 810 + numbers.next(400) + long, 1 + numbers.next(100))
            })
            .collect();
        for fleet in [fleet(8), unmeasured(8)] {
            let (_, run, ideal) = both(&requests, &[head(800)], fleet);
            assert_near(run.seconds, ideal.seconds, "seconds");
        }
    }
}

#[test]
fn many_prefixes_are_each_read_about_once() {
    for seed in 0..20 {
        let mut numbers = Numbers(seed);
        let mut requests: Vec<_> =
            (0..64 * 32).map(|i| request(i % 64, 700 + numbers.next(100), 20)).collect();
        for index in (1..requests.len()).rev() {
            requests.swap(index, numbers.next(index as u32 + 1) as usize);
        }
        let (plan, run, ideal) = both(&requests, &[head(600); 64], fleet(32));
        assert_eq!(plan.summary.prefix_evaluations, 64, "one lane a group");
        assert_near(run.evaluated as f64, ideal.evaluated as f64, "tokens");
        assert_near(run.seconds, ideal.seconds, "seconds");
    }
}

#[test]
fn one_large_group_is_read_once_a_lane() {
    let requests = vec![request(0, 700, 20); 2_048];
    let (_, run, ideal) = both(&requests, &[head(600)], fleet(32));
    let floor = ideal.evaluated + 31 * 600;
    assert!(run.evaluated <= floor, "{} tokens, floor {floor}", run.evaluated);
    assert_near(run.seconds, ideal.seconds, "seconds");
}

#[test]
fn groups_that_do_not_divide_evenly() {
    for (groups, lanes) in [(3, 8), (2, 3), (9, 8), (5, 4)] {
        let requests: Vec<_> = (0..groups * 400).map(|i| request(i % groups, 300, 20)).collect();
        let heads = vec![head(200); groups as usize];
        let (_, run, ideal) = both(&requests, &heads, fleet(lanes));
        assert_near(run.seconds, ideal.seconds, &format!("{groups} groups on {lanes} lanes"));
    }
}

#[test]
fn a_busy_fleet_splits_a_group_only_if_it_stays_warm() {
    // Seven groups for the lanes 1 to 7, and one 1.5 times as long: an eighth lane is not idle.
    let case = |prefix: u32| {
        let requests: Vec<_> = (0..8u32)
            .flat_map(|g| vec![request(g, prefix + 100, 10); if g == 0 { 150 } else { 100 }])
            .collect();
        planned(&requests, &[head(prefix); 8], &[fleet(8)], &Policy::default()).groups[0].shares
    };
    assert_eq!(case(100), 2, "half of 37.5 s is more than 20 × 0.05 s");
    assert_eq!(case(4_000), 1, "half of 37.5 s is less than 20 × 2 s");
}

#[test]
fn idle_lanes_help_even_a_small_group() {
    let requests = vec![request(0, 900, 5); 60];
    let (plan, run, _) = both(&requests, &[head(800)], fleet(8));
    assert_eq!(plan.groups[0].shares, 8);
    // One lane: 0.4 s for the prefix and 60 × 0.15 s.
    assert!(run.seconds < 9.4 / 5.0, "{} s", run.seconds);
}

#[test]
fn conversations_of_one_group_go_to_all_lanes() {
    let requests = vec![request(0, 1_000, 100); 2_000];
    let policy = Policy { strategy: Strategy::Conversation, ..Policy::default() };
    let plan = planned(&requests, &[head(800)], &[fleet(8)], &policy);
    let heads: Vec<_> = plan.chunks.iter().filter(|chunk| chunk.position == 0).collect();
    assert_eq!((heads.len(), plan.groups[0].shares), (8, 8));
    assert_eq!(plan.summary.prefix_evaluations as usize, plan.chunks.len());
}
