use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use caravan_proto::v1::{
    Batch, WatchBatchRequest, WatchBatchResponse, batch_service_client::BatchServiceClient,
    watch_batch_response::Event,
};
use caravan_simulated_engine::{Options, SimulatedEngine};
use caravan_tests::{Fleet, Input, MODEL};
use tokio::{sync::watch, task::JoinSet};
use tonic::{
    Streaming,
    transport::{Channel, Endpoint},
};

use super::{id, memory::Memory};

/// The limits: from a commit to whoever watches, for 99 of 100, and of the gateway's memory a subscriber.
const LIMIT: Duration = Duration::from_millis(250);
const BYTES: f64 = 50e3;

/// Milliseconds of an answer, and lanes.
const ANSWER_MS: u64 = 100;
const LANES: usize = 2;

/// Who watches.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Audience {
    /// Subscribers at the gateway whose planner commits.
    #[arg(long, default_value_t = 10_000)]
    subscribers: usize,
    /// Subscribers at the other gateway.
    #[arg(long, default_value_t = 1_000)]
    others: usize,
    /// Connections of the subscribers at a gateway.
    #[arg(long, default_value_t = 100)]
    connections: usize,
    /// Seconds that count.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

/// One batch that runs, and all who watch it.
pub(super) async fn run(fleet: &mut Fleet, audience: &Audience) -> anyhow::Result<()> {
    let Audience { subscribers, others, connections, seconds } = *audience;
    let engine =
        SimulatedEngine::start(Options { slots: LANES, answer_ms: ANSWER_MS, ..Options::default() })?;
    let _executor = fleet.executor("executor", &engine.url(), LANES).await?;
    let api = fleet.api()?;
    api.serves(MODEL).await?;
    // More than can be answered meanwhile.
    let batch = api.create(&Input::chats(20_000, "a system prompt"), Batch::default()).await?.name;
    api.when(&batch, "runs", |batch| batch.last_commit_time.is_some()).await?;
    let urls: Vec<String> = fleet.gateways().map(str::to_owned).collect();
    println!(
        "watch: {subscribers} subscribers at a gateway, {others} at another, {connections} connections at each"
    );
    let (clock, running) = watch::channel(false);
    let mut crowds = Vec::new();
    for (index, count) in [subscribers, others].into_iter().enumerate() {
        let gateway = id(fleet.gateway_at(index))?;
        let before = Memory::of(gateway)?.resident;
        let crowd = Crowd::gather(&urls[index], &batch, count, connections, running.clone()).await?;
        crowds.push((crowd, gateway, before));
    }
    // All have come: what is told from here on counts.
    tokio::time::sleep(Duration::from_secs(2)).await;
    clock.send_replace(true);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let mut after = Vec::new();
    for (_, gateway, _) in &crowds {
        after.push(Memory::of(*gateway)?.resident);
    }
    drop(clock);
    for ((crowd, _, before), after) in crowds.into_iter().zip(after) {
        let count = crowd.count;
        let mut told = crowd.ends().await?;
        ensure!(!told.is_empty(), "nobody was told anything");
        let publications = told.len() as f64 / count as f64;
        let (half, most) = (percentile(&mut told, 50), percentile(&mut told, 99));
        let worst = percentile(&mut told, 100);
        let each = after.saturating_sub(before) as f64 / count as f64;
        println!("  {count} subscribers, each told of {publications:.1} commits");
        println!(
            "    half after {half:.0?}, 99 % after at most {most:.0?}, {:.2} x the limit; the last {worst:.0?}",
            most.div_duration_f64(LIMIT)
        );
        println!("    {:.1} KB of the gateway's memory each, {:.2} x the limit", each / 1e3, each / BYTES);
    }
    Ok(())
}

/// Subscribers at one gateway, a task for each connection.
struct Crowd {
    count: usize,
    tasks: JoinSet<anyhow::Result<Vec<Duration>>>,
}

// === impl Crowd ===

impl Crowd {
    /// Returns once all have their snapshot.
    async fn gather(
        url: &str,
        batch: &str,
        count: usize,
        connections: usize,
        running: watch::Receiver<bool>,
    ) -> anyhow::Result<Self> {
        let mut tasks = JoinSet::new();
        for index in 0..connections.min(count) {
            let channel = Endpoint::from_shared(url.to_owned())?.tcp_nodelay(true).connect().await?;
            let streams = count / connections + usize::from(index < count % connections);
            for _ in 0..streams {
                let stream = subscribe(channel.clone(), batch).await?;
                tasks.spawn(follow(stream, running.clone()));
            }
        }
        Ok(Self { count, tasks })
    }

    /// How late each of them was told of each commit.
    async fn ends(mut self) -> anyhow::Result<Vec<Duration>> {
        let mut told = Vec::new();
        while let Some(seen) = self.tasks.join_next().await {
            told.extend(seen??);
        }
        Ok(told)
    }
}

async fn subscribe(channel: Channel, batch: &str) -> anyhow::Result<Streaming<WatchBatchResponse>> {
    let request = WatchBatchRequest { name: batch.to_owned(), resume_token: String::new() };
    let mut stream = BatchServiceClient::new(channel).watch_batch(request).await?.into_inner();
    let first = stream.message().await?.context("no snapshot")?;
    ensure!(matches!(first.event, Some(Event::Snapshot(_))), "no snapshot first: {first:?}");
    Ok(stream)
}

/// Reads until the bench ends; what counts is what comes while the clock runs.
async fn follow(
    mut stream: Streaming<WatchBatchResponse>,
    mut running: watch::Receiver<bool>,
) -> anyhow::Result<Vec<Duration>> {
    let (mut told, mut last) = (Vec::new(), None);
    loop {
        let message = tokio::select! {
            message = stream.message() => message?.context("the watch ended")?,
            changed = running.changed() => match changed {
                Ok(()) => continue,
                Err(_ended) => return Ok(told),
            },
        };
        let Some(commit) = commit(&message) else { continue };
        if last.replace(commit).is_some_and(|last| last != commit) && *running.borrow() {
            told.push(SystemTime::now().duration_since(commit).unwrap_or_default());
        }
    }
}

/// When the planner made results final last, if the message tells. The database's clock is this machine's.
fn commit(message: &WatchBatchResponse) -> Option<SystemTime> {
    let batch = match message.event.as_ref()? {
        Event::Snapshot(batch) => batch,
        Event::Delta(delta) => delta.batch.as_ref()?,
        Event::Heartbeat(_) => return None,
    };
    let commit = batch.last_commit_time?;
    Some(UNIX_EPOCH + Duration::new(commit.seconds.try_into().ok()?, commit.nanos.try_into().ok()?))
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    let rank = (times.len() * percent).div_ceil(100).saturating_sub(1);
    times.get(rank).copied().unwrap_or_default()
}
