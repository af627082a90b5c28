use std::{num::NonZeroU32, time::Instant};

use anyhow::ensure;
use caravan_plan::{Fleet, Head, Input, Origin, Policy, Request, Speed, Tokens};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

/// The best of so many runs.
const RUNS: usize = 5;

/// Plans records in memory on one thread, against sorting as many pairs of a size and an ordinal:
/// longest first inside of each group is the least that a plan must do.
pub(crate) fn run(requests: usize, groups: u32) -> anyhow::Result<()> {
    let mut chance = StdRng::seed_from_u64(1);
    let request = |chance: &mut StdRng| {
        let prompt_tokens = chance.random_range(2_500..3_500);
        Request {
            group: chance.random_range(..groups),
            prompt_tokens,
            prompt_tokens_low: prompt_tokens,
            answer_tokens: NonZeroU32::new(chance.random_range(1..400)),
            bytes: prompt_tokens * 4,
        }
    };
    let requests: Vec<Request> = (0..requests).map(|_| request(&mut chance)).collect();
    let heads: Vec<Head> =
        (0..groups).map(|_| Head { model: 0, prefix_tokens: 2_400, bytes: 9_600, answers: true }).collect();
    let fleets = [Fleet {
        lanes: 32,
        lanes_known: true,
        context: Tokens(32_768),
        speeds: vec![Speed {
            lanes: 1,
            prompt_seconds: 1.0 / 2_000.0,
            answer_seconds: 1.0 / 50.0,
            request_seconds: 0.02,
        }],
        sliding_window: None,
        reuse: Vec::new(),
        answer_share: None,
        reserve_share: None,
        origin: Origin::Profile,
    }];
    let policy = Policy::default();
    let (mut planning, mut sorting, mut chunks) = (f64::INFINITY, f64::INFINITY, 0);
    for _ in 0..RUNS {
        let since = Instant::now();
        let plan = caravan_plan::plan(Input {
            requests: &requests,
            heads: &heads,
            fleets: &fleets,
            policy: &policy,
        })?;
        planning = planning.min(since.elapsed().as_secs_f64());
        ensure!(plan.order.len() == requests.len(), "not all are planned");
        chunks = plan.chunks.len();

        let sizes = requests.iter().zip(0_u32..);
        let mut pairs: Vec<(u64, u32)> = sizes.map(|(r, at)| (u64::from(r.prompt_tokens), at)).collect();
        let since = Instant::now();
        pairs.sort_unstable();
        sorting = sorting.min(since.elapsed().as_secs_f64());
    }
    let million = |seconds: f64| requests.len() as f64 / seconds / 1e6;
    println!("{} requests, {groups} groups, {chunks} chunks, best of {RUNS} runs", requests.len());
    println!("planned in {planning:.3} s = {:.1} million requests/s on one core", million(planning));
    println!("that is {:.2} x sorting as many pairs ({sorting:.3} s)", planning / sorting);
    Ok(())
}
