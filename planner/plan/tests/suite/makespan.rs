//! How good plans are: lanes run them as `Chunk` says, and prefixes and idle time are counted.

use crate::support::{Numbers, fleet, head, planned, request, unmeasured};
use caravan_plan::{Chunk, Fleet, Head, Input, Plan, Policy, Request, Speed, Strategy};

/// What happened: seconds to the end, and prompt tokens evaluated.
#[derive(Debug)]
struct Run {
    seconds: f64,
    evaluated: u64,
}

/// What one lane does in the tests, if the fleet does not say otherwise.
const SPEED: Speed =
    Speed { lanes: 1, prompt_seconds: 1.0 / 2_000.0, answer_seconds: 1.0 / 50.0, request_seconds: 0.0 };

/// Lanes take chunks as `Chunk` says; a lane keeps one prefix. Lane 0 takes `slowness` times as long as planned.
fn run(plan: &Plan, input: &Input<'_>, lanes: usize, slowness: f64) -> Run {
    let speed = input.fleets[0].speeds.last().copied().unwrap_or(SPEED);
    let mut free: Vec<bool> = vec![true; plan.chunks.len()];
    let mut at = vec![Some((0.0f64, None::<Chunk>)); lanes];
    let (mut seconds, mut evaluated) = (0.0f64, 0);
    loop {
        let clock = |lane: &usize| at[*lane].map_or(f64::INFINITY, |(clock, _)| clock);
        let lane = (0..lanes).min_by(|a, b| clock(a).total_cmp(&clock(b))).unwrap();
        let Some((clock, warm)) = at[lane].take() else { return Run { seconds, evaluated } };
        let share = |chunk: &Chunk| (chunk.group, chunk.share);
        let others: Vec<_> = at.iter().flatten().filter_map(|(_, chunk)| chunk.as_ref().map(share)).collect();
        let is_free = |number: &usize| free[*number];
        let same_share = |&number: &usize| warm.is_some_and(|w| share(&plan.chunks[number]) == share(&w));
        let head = |&number: &usize| plan.chunks[number].position == 0;
        let worth = |&number: &usize| {
            let chunk = &plan.chunks[number];
            chunk.worth_stealing || !others.contains(&share(chunk))
        };
        let all = || (0..plan.chunks.len()).filter(is_free);
        let number = all().find(same_share).or_else(|| all().find(head)).or_else(|| all().rfind(worth));
        seconds = seconds.max(clock);
        let Some(number) = number else { continue };
        free[number] = false;
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
        let time = prompt as f64 * speed.prompt_seconds
            + answer as f64 * speed.answer_seconds
            + f64::from(chunk.requests()) * speed.request_seconds;
        at[lane] = Some((clock + time * if lane == 0 { slowness } else { 1.0 }, Some(chunk)));
    }
}

/// The least possible: each prefix once, and all lanes busy to the end.
fn floor(requests: &[Request], heads: &[Head], lanes: usize) -> Run {
    let prefixes: u64 = heads.iter().map(|head| u64::from(head.prefix_tokens)).sum();
    let own = |r: &Request| u64::from(r.prompt_tokens - heads[r.group as usize].prefix_tokens);
    let evaluated = prefixes + requests.iter().map(own).sum::<u64>();
    let answers: u64 = requests.iter().filter_map(|r| r.answer_tokens).map(|t| u64::from(t.get())).sum();
    Run {
        seconds: (evaluated as f64 * SPEED.prompt_seconds + answers as f64 * SPEED.answer_seconds)
            / lanes as f64,
        evaluated,
    }
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

/// The same fleet, whose requests take so long beyond their tokens.
fn with_request_seconds(fleet: Fleet, request_seconds: f64) -> Fleet {
    Fleet { speeds: vec![Speed { request_seconds, ..SPEED }], ..fleet }
}

fn estimated(plan: &Plan) -> f64 {
    plan.summary.estimated_duration.unwrap().0 as f64 / 1e6
}

#[test]
fn the_estimate_comes_true() {
    for seed in 0..20 {
        let mut numbers = Numbers(seed);
        let (groups, lanes) = (1 + numbers.next(12), 1 + numbers.next(9));
        let count = 1 + numbers.next(600);
        let requests: Vec<_> = (0..count)
            .map(|_| request(numbers.next(groups), 600 + numbers.next(400), 1 + numbers.next(60)))
            .collect();
        let fleet = with_request_seconds(fleet(lanes), f64::from(numbers.next(300)) / 1e3);
        let (plan, run, _) = both(&requests, &vec![head(500); groups as usize], fleet);
        let estimated = estimated(&plan);
        assert!((estimated / run.seconds - 1.0).abs() < 1e-4, "estimated {estimated}, ran {}", run.seconds);
    }
}

#[test]
fn a_longer_request_makes_a_longer_batch() {
    let requests = vec![request(0, 200, 1); 500];
    let ran = |request_seconds| {
        let fleet = with_request_seconds(fleet(4), request_seconds);
        estimated(&both(&requests, &[head(100)], fleet).0)
    };
    let seconds = [0.0, 0.001, 0.01, 0.1, 1.0].map(ran);
    assert!(seconds.is_sorted_by(|before, after| before < after), "{seconds:?}");
    assert!((seconds[4] - seconds[0] - 125.0).abs() < 1.0, "a quarter of 500 × 1 s: {seconds:?}");
}

#[test]
fn few_requests_run_at_the_speed_of_few() {
    let speed = |lanes, times: f64| Speed {
        lanes,
        prompt_seconds: SPEED.prompt_seconds / times,
        answer_seconds: SPEED.answer_seconds / times,
        request_seconds: 0.0,
    };
    let fleet = || Fleet { speeds: vec![speed(1, 4.0), speed(2, 2.0), speed(4, 1.0)], ..fleet(4) };
    let took = |requests| estimated(&both(&vec![request(0, 100, 50); requests], &[head(0)], fleet()).0);
    // 0.05 s + 1 s each with three or four lanes at work, half of it with two, a quarter alone.
    assert_eq!([1, 2, 4].map(took).map(|seconds| (seconds * 1e4).round()), [2_625.0, 5_250.0, 10_500.0]);
    // Two more are two alone.
    assert_eq!((took(6) * 1e4).round(), 10_500.0 + 5_250.0);
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
