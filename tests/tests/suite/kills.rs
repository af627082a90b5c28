//! `kill -9` at random moments: nothing lost, nothing twice, nothing torn.
//!
//! A few times each; `CARAVAN_KILLS=20` for more. A failure names its seed; `CARAVAN_SEED` repeats it.

use std::{env, time::Duration};

use anyhow::{Context as _, ensure};
use caravan_proto::v1::{Batch, Strategy};
use caravan_simulated_engine::{Options, Running, SimulatedEngine};
use caravan_tests::{Fleet, Input, Process, until};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

const SLOTS: usize = 4;
const REQUESTS: usize = 240;
/// Dead holders are noticed soon.
const CONFIG: &str = "[lease]\nttl_ms = 1500\n";

fn kills() -> u64 {
    env::var("CARAVAN_KILLS").ok().and_then(|count| count.parse().ok()).unwrap_or(3)
}

fn seed() -> u64 {
    env::var("CARAVAN_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

fn engine() -> anyhow::Result<Running> {
    Ok(SimulatedEngine::start(Options { slots: SLOTS, answer_ms: 8, ..Options::default() })?)
}

/// Every second batch is one of conversations.
fn policy(round: u64) -> Batch {
    let strategy = if round % 2 == 1 { Strategy::Conversation } else { Strategy::Independent };
    let chunk_limits = Some(caravan_proto::v1::ChunkLimits { max_requests: 25, max_seconds: 0.0 });
    Batch { strategy: strategy.into(), chunk_limits, ..Default::default() }
}

/// Waits until the engines were asked `asked` times in all, then some milliseconds more: so
/// moments between requests are hit as well.
async fn moment(random: &mut StdRng, engines: &[&Running]) -> anyhow::Result<u64> {
    let asked = random.random_range(0..=REQUESTS as u64);
    let look = async || {
        let now: u64 = engines.iter().map(|engine| engine.stats().requests).sum();
        if now >= asked { Ok(()) } else { Err(format!("{now} of {asked} requests")) }
    };
    until("the moment", look).await?;
    tokio::time::sleep(Duration::from_micros(random.random_range(0..30_000))).await;
    Ok(asked)
}

/// Answers beyond the first to each request.
fn repeated(engines: &[&Running]) -> anyhow::Result<u64> {
    let answers: u64 = engines.iter().map(|engine| engine.stats().answers).sum();
    let marked: std::collections::BTreeSet<String> =
        engines.iter().flat_map(|engine| engine.stats().markers.into_keys()).collect();
    ensure!(marked.len() == REQUESTS, "{} of {REQUESTS} requests were asked", marked.len());
    Ok(answers - REQUESTS as u64)
}

#[tokio::test]
async fn a_planner_that_dies_continues_where_it_was() -> anyhow::Result<()> {
    for round in 0..kills() {
        planner_dies(round, seed() + round).await.with_context(|| format!("seed {}", seed() + round))?;
    }
    Ok(())
}

async fn planner_dies(round: u64, seed: u64) -> anyhow::Result<()> {
    let mut random = StdRng::seed_from_u64(seed);
    let (engine, mut fleet) = (engine()?, Fleet::start(CONFIG).await?);
    let _executor = fleet.executor("first", &engine.url(), SLOTS).await?;
    let (api, input) = (fleet.api()?, Input::chats(REQUESTS, "a system prompt"));
    let batch = api.create(&input, policy(round)).await?.name;
    let asked = moment(&mut random, &[&engine]).await?;
    fleet.kill_planner().await?;
    fleet.start_planner().await?;
    let ended = api.ended(&batch).await?;
    let audit = api.audit(&input, &ended).await?;
    ensure!(audit.failed.is_empty(), "{:?}", audit.failed);
    // The executor went on with what it held, and kept what was not acked.
    let repeated = repeated(&[&engine])?;
    ensure!(repeated == 0, "{repeated} answers were asked for again after a kill at {asked}");
    Ok(())
}

#[tokio::test]
async fn an_executor_that_dies_is_taken_over_by_another() -> anyhow::Result<()> {
    for round in 0..kills() {
        let seed = seed() + 1_000 + round;
        executor_dies(round, seed, true).await.with_context(|| format!("seed {seed}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn an_executor_that_dies_comes_back_by_itself() -> anyhow::Result<()> {
    for round in 0..kills() {
        let seed = seed() + 2_000 + round;
        executor_dies(round, seed, false).await.with_context(|| format!("seed {seed}"))?;
    }
    Ok(())
}

async fn executor_dies(round: u64, seed: u64, beside: bool) -> anyhow::Result<()> {
    let mut random = StdRng::seed_from_u64(seed);
    let (one, other) = (engine()?, engine()?);
    let engines = [&one, &other];
    let fleet = Fleet::start(CONFIG).await?;
    let mut first: Process = fleet.executor("first", &one.url(), SLOTS).await?;
    let mut second = if beside { Some(fleet.executor("second", &other.url(), SLOTS).await?) } else { None };
    let (api, input) = (fleet.api()?, Input::chats(REQUESTS, "a system prompt"));
    let batch = api.create(&input, policy(round)).await?.name;
    let asked = moment(&mut random, &engines).await?;
    first.kill().await?;
    // What it had asked for and what was not yet safe: so much may be repeated, and no more.
    let sent = one.stats().requests;
    let safe = api.get(&batch).await?.requests.unwrap_or_default().succeeded as u64;
    let others = other.stats().requests;
    if second.is_none() {
        second = Some(fleet.executor("first", &one.url(), SLOTS).await?);
    }
    let ended = api.ended(&batch).await?;
    let audit = api.audit(&input, &ended).await?;
    ensure!(audit.failed.is_empty(), "{:?}", audit.failed);
    let (repeated, unsafe_at_most) = (repeated(&engines)?, (sent + others).saturating_sub(safe));
    ensure!(
        repeated <= unsafe_at_most,
        "{repeated} answers were asked for again after a kill at {asked}: {sent} were sent, {safe} safe"
    );
    drop(second);
    Ok(())
}
