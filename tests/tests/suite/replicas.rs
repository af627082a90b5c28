//! Two planners and two gateways on one PostgreSQL, of which any may die.
//!
//! By hand, with what is measured: `CARAVAN_TTL_MS=10000 CARAVAN_OUTAGE_MS=30000 cargo test -p caravan-tests
//! --test suite replicas -- --nocapture`.

use std::{
    collections::HashSet,
    env,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use caravan_proto::v1::{
    Batch, CancelBatchRequest, ChunkLimits, StreamResultsRequest, WatchBatchResponse, batch::State,
    watch_batch_response::Event,
};
use caravan_simulated_engine::{Options, Running, SimulatedEngine};
use caravan_tests::{Api, Caravan, Fleet, Input, reason, until};
use tokio::task::JoinHandle;

const SLOTS: usize = 4;
const MODEL: &str = caravan_tests::MODEL;
/// A stream that lost its planner goes on within this time. What is promised is 2 s; the rest is for machines that
/// are busy with other tests.
const RESUMED: Duration = Duration::from_secs(6);

fn millis(key: &str, default: u64) -> u64 {
    env::var(key).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn ttl() -> Duration {
    Duration::from_millis(millis("CARAVAN_TTL_MS", 1_500))
}

fn config() -> String {
    format!("[lease]\nttl_ms = {}\n", ttl().as_millis())
}

fn engine(answer_ms: u64) -> anyhow::Result<Running> {
    Ok(SimulatedEngine::start(Options { slots: SLOTS, answer_ms, ..Options::default() })?)
}

fn chunks_of(max_requests: i32) -> Batch {
    Batch { chunk_limits: Some(ChunkLimits { max_requests, max_seconds: 0.0 }), ..Batch::default() }
}

fn has(succeeded: i64) -> impl Fn(&Batch) -> bool {
    move |batch| batch.requests.is_some_and(|requests| requests.succeeded >= succeeded)
}

/// Answers beyond the first to each of so many requests.
fn repeated(engines: &[&Running], requests: usize) -> anyhow::Result<u64> {
    let answers: u64 = engines.iter().map(|engine| engine.stats().answers).sum();
    answers.checked_sub(requests as u64).context("requests that no engine answered")
}

/// When something came over a stream.
#[derive(Debug, Default)]
struct Arrivals(Vec<Instant>);

impl Arrivals {
    fn note(&mut self) {
        self.0.push(Instant::now());
    }

    /// From `moment` to the next.
    fn behind(&self, moment: Instant) -> Option<Duration> {
        self.0.iter().find(|at| **at > moment).map(|at| *at - moment)
    }

    /// The longest time without any.
    fn longest_silence(&self) -> Duration {
        self.0.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }
}

/// Reads all results to the last; each must come once.
fn results(api: Api, name: String) -> JoinHandle<anyhow::Result<(HashSet<String>, Arrivals)>> {
    tokio::spawn(async move {
        let request = StreamResultsRequest { name, follow: true, ..Default::default() };
        let mut stream = api.results(request).await?;
        let (mut seen, mut arrivals) = (HashSet::new(), Arrivals::default());
        while let Some(message) = stream.message().await? {
            arrivals.note();
            for result in message.results {
                let id = result.custom_id;
                ensure!(seen.insert(id.clone()), "the result of {id} came twice");
            }
            if message.r#final {
                return Ok((seen, arrivals));
            }
        }
        anyhow::bail!("the stream ended without its last message, after {} results", seen.len())
    })
}

/// Watches to the last message; counts must never go back.
fn watch(api: Api, name: String) -> JoinHandle<anyhow::Result<Arrivals>> {
    tokio::spawn(async move {
        let mut stream = api.watch(&name, "").await?;
        let (mut arrivals, mut succeeded) = (Arrivals::default(), 0);
        while let Some(message) = stream.message().await? {
            arrivals.note();
            if let Some(now) = told(&message) {
                ensure!(now >= succeeded, "{succeeded} had succeeded, and then {now}");
                succeeded = now;
            }
            if message.r#final {
                return Ok(arrivals);
            }
        }
        anyhow::bail!("the watch ended without its last message")
    })
}

/// How many requests have succeeded, if the message says so.
fn told(message: &WatchBatchResponse) -> Option<i64> {
    match message.event.as_ref()? {
        Event::Snapshot(batch) => batch.requests,
        Event::Delta(delta) => delta.batch.as_ref()?.requests,
        Event::Heartbeat(_) => None,
    }
    .map(|requests| requests.succeeded)
}

#[tokio::test]
async fn streams_go_on_when_their_planner_dies() -> anyhow::Result<()> {
    const REQUESTS: usize = 2_000;
    let (one, other) = (engine(20)?, engine(20)?);
    let mut fleet = Fleet::replicated(&config()).await?;
    let _first = fleet.executor("first", &one.url(), SLOTS).await?;
    let _second = fleet.executor("second", &other.url(), SLOTS).await?;
    let (api, input) = (fleet.api()?, Input::chats(REQUESTS, "a system prompt"));
    api.serves_on(MODEL, 2).await?;
    let batch = api.create(&input, chunks_of(50)).await?.name;
    let (watched, read) = (watch(api.clone(), batch.clone()), results(api.clone(), batch.clone()));
    api.when(&batch, "is under way", has(300)).await?;
    let killed = Instant::now();
    // The planner that the first gateway begins at, and so the one that both streams have.
    fleet.kill_planner().await?;
    api.when(&batch, "goes on", has(900)).await?;
    fleet.start_planner().await?;

    let ended = api.ended(&batch).await?;
    let audit = api.audit(&input, &ended).await?;
    ensure!(audit.answered == REQUESTS, "{:?}", audit.failed);
    let (seen, results) = read.await??;
    ensure!(seen.len() == REQUESTS, "{} results were streamed", seen.len());
    let watched = watched.await??;
    let resumed = [watched.behind(killed), results.behind(killed)].map(Option::unwrap_or_default);
    println!(
        "kill -9 of a planner: the watch went on after {:?}, the results after {:?}; longest silences {:?}, {:?}",
        resumed[0],
        resumed[1],
        watched.longest_silence(),
        results.longest_silence()
    );
    ensure!(results.longest_silence() < RESUMED && watched.longest_silence() < RESUMED, "they were held up");
    let repeated = repeated(&[&one, &other], REQUESTS)?;
    ensure!(repeated == 0, "{repeated} requests were run again: executors kept what they held");
    Ok(())
}

#[tokio::test]
async fn a_command_goes_on_when_its_gateway_dies() -> anyhow::Result<()> {
    const REQUESTS: usize = 1_000;
    let engine = engine(10)?;
    let mut fleet = Fleet::replicated(&config()).await?;
    let _executor = fleet.executor("first", &engine.url(), SLOTS).await?;
    let (api, input) =
        (Api::new(&fleet.gateways().last().context("no gateway")?.to_owned())?, Input::chats(REQUESTS, "s"));
    let batch = api.create(&input, chunks_of(50)).await?.name;
    let servers = fleet.gateways().collect::<Vec<_>>().join(",");
    let reading = Caravan::new(&servers).command(&["results", &batch, "--follow"])?.spawn()?;
    api.when(&batch, "is under way", has(200)).await?;
    fleet.gateway().kill().await?;
    let output = reading.wait_with_output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout)?;
    let ids: HashSet<&str> = lines.lines().filter_map(|line| line.split("\"custom_id\":\"").nth(1)).collect();
    ensure!(lines.lines().count() == REQUESTS && ids.len() == REQUESTS, "{} lines", lines.lines().count());
    Ok(())
}

#[tokio::test]
async fn a_dead_executor_s_requests_run_elsewhere() -> anyhow::Result<()> {
    // A chunk a lane, so that the other executor has nothing to do before.
    const REQUESTS: usize = 160;
    let (one, other) = (engine(50)?, engine(50)?);
    let fleet = Fleet::replicated(&config()).await?;
    let urls = fleet.planner_urls();
    let at = |engine: &Running| format!("{{kind = 'ollama', url = '{}', slots = {SLOTS}}}", engine.url());
    let mut first = fleet.executor_at("first", &at(&one), &urls[..1]).await?;
    let (api, input) = (fleet.api()?, Input::chats(REQUESTS, "a system prompt"));
    api.serves(MODEL).await?;
    let batch = api.create(&input, chunks_of(40)).await?.name;
    let whole = |batch: &Batch| batch.chunks.is_some_and(|chunks| chunks.running == 4 && chunks.total == 4);
    api.when(&batch, "is leased as a whole", whole).await?;
    // It is connected to the other planner.
    let _second = fleet.executor_at("second", &at(&other), &urls[1..]).await?;
    api.serves_on(MODEL, 2).await?;
    api.when(&batch, "is under way", has(30)).await?;
    first.kill().await?;
    let killed = Instant::now();
    let asked = one.stats().requests;
    let safe = api.get(&batch).await?.requests.unwrap_or_default().succeeded;
    until("the other executor takes over", async || match other.stats().requests {
        0 => Err("nothing was asked of it".to_owned()),
        _ => Ok(()),
    })
    .await?;
    let taken_over = killed.elapsed();
    let ended = api.ended(&batch).await?;
    let audit = api.audit(&input, &ended).await?;
    ensure!(audit.failed.is_empty(), "{:?}", audit.failed);
    let all = one.stats().requests + other.stats().requests;
    let (repeated, unsafe_then) = (all - REQUESTS as u64, asked - safe.unsigned_abs());
    println!(
        "kill -9 of an executor: its requests ran elsewhere after {taken_over:?} with leases of {:?}; {repeated} \
         repeated, {unsafe_then} were asked for and not yet final",
        ttl()
    );
    ensure!(repeated <= unsafe_then, "{repeated} requests were repeated, {unsafe_then} were not safe");
    ensure!(taken_over < ttl() + Duration::from_secs(4), "only after {taken_over:?}");
    Ok(())
}

#[tokio::test]
async fn executors_of_every_planner_stop_what_is_cancelled() -> anyhow::Result<()> {
    let engines = [engine(30)?, engine(30)?];
    let mut fleet = Fleet::replicated(&config()).await?;
    let urls = fleet.planner_urls();
    let mut executors = Vec::new();
    for (index, engine) in engines.iter().enumerate() {
        let at = format!("{{kind = 'ollama', url = '{}', slots = {SLOTS}}}", engine.url());
        executors.push(fleet.executor_at(&format!("host-{index}"), &at, &urls[index..=index]).await?);
    }
    let api = Api::new(&fleet.gateways().last().context("no gateway")?.to_owned())?;
    api.serves_on(MODEL, 2).await?;
    let batch = api.create(&Input::chats(4_000, "s"), chunks_of(100)).await?.name;
    api.when(&batch, "runs everywhere", |batch| batch.chunks.is_some_and(|chunks| chunks.running >= 8))
        .await?;
    // In its next life it learns of leases that it did not give.
    fleet.kill_planner().await?;
    fleet.start_planner().await?;
    api.when(&batch, "goes on", has(400)).await?;
    api.batches().cancel_batch(CancelBatchRequest { name: batch.clone() }).await?;
    let cancelled = Instant::now();
    until("no engine is at work", async || {
        let at_work: u64 = engines.iter().map(|engine| engine.stats().in_flight).sum();
        if at_work == 0 { Ok(()) } else { Err(format!("{at_work} in flight")) }
    })
    .await?;
    println!("cancel: engines of two planners stopped after {:?}", cancelled.elapsed());
    let ended = api.ended(&batch).await?;
    ensure!(ended.state() == State::Cancelled, "{ended:?}");
    Ok(())
}

#[tokio::test]
async fn an_outage_of_the_database_is_waited_for() -> anyhow::Result<()> {
    const REQUESTS: usize = 2_000;
    let outage = Duration::from_millis(millis("CARAVAN_OUTAGE_MS", 4_500));
    let engine = engine(8)?;
    let fleet = Fleet::replicated(&config()).await?;
    let executor = fleet.executor("first", &engine.url(), SLOTS).await?;
    let (api, input) = (fleet.api()?, Input::chats(REQUESTS, "s"));
    let batch = api.create(&input, chunks_of(50)).await?.name;
    let (watched, read) = (watch(api.clone(), batch.clone()), results(api.clone(), batch.clone()));
    api.when(&batch, "is under way", has(200)).await?;
    let database = fleet.database().context("no database")?;
    database.shut()?;
    let begun = Instant::now();
    let refused = api.get(&batch).await.err().context("it was read without a database")?;
    ensure!(reason(&refused) == "UNAVAILABLE", "{refused}");
    let told_after = begun.elapsed();
    tokio::time::sleep(outage.saturating_sub(begun.elapsed())).await;
    database.open()?;
    let over = Instant::now();
    let ended = api.ended(&batch).await?;
    let audit = api.audit(&input, &ended).await?;
    ensure!(audit.answered == REQUESTS, "{:?}", audit.failed);
    let (seen, results) = read.await??;
    ensure!(seen.len() == REQUESTS, "{} results were streamed", seen.len());
    let watched = watched.await??;
    println!(
        "an outage of {outage:?}: a read was refused after {told_after:?}; behind it the watch went on after {:?}, the \
         results after {:?}",
        watched.behind(over),
        results.behind(over)
    );
    let repeated = repeated(&[&engine], REQUESTS)?;
    ensure!(repeated == 0, "{repeated} requests were run again: leases outlast an outage");
    ensure!(!executor.log().contains("not connected"), "the executor was lost");
    Ok(())
}
