use std::time::{Duration, Instant};

use anyhow::ensure;
use caravan_proto::v1::{Batch, ChunkLimits};
use caravan_tests::{Api, Input, Process};
use futures::future::try_join_all;
use tokio::task::JoinSet;
use tonic::transport::Endpoint;

use crate::{
    database::Database,
    executor::{Executor, Pace, Seen},
};

/// Streams of one connection: fewer files than a connection each, and as much work for both sides.
const STREAMS: usize = 20;
/// Requests of a chunk.
const REQUESTS: usize = 4;
/// What is leased in this time does not count.
const WARM: Duration = Duration::from_secs(3);

/// The limits that a PostgreSQL must keep.
const LEASES: f64 = 1_000.0;
const REPORTS: f64 = 500.0;
const LEASE: Duration = Duration::from_millis(50);

/// Executors in this process, the planner and the database share the machine's cores.
pub(crate) async fn run(executors: usize, rate: usize, seconds: u64) -> anyhow::Result<()> {
    println!("{executors} executors ask for {rate} leases a second and report each at once");
    for database in Database::of_each_kind()? {
        let directory = tempfile::tempdir()?;
        let (config, ready) = (directory.path().join("planner.toml"), directory.path().join("ready.json"));
        let data = directory.path().join("data");
        let text = format!(
            "listen = '127.0.0.1:0'\ndata_dir = '{}'\nstore_url = '{}'\n",
            data.display(),
            database.url()
        );
        std::fs::write(&config, text)?;
        let args = ["--config".as_ref(), config.as_os_str(), "--ready-file".as_ref(), ready.as_os_str()];
        let mut planner = Process::start("caravan-planner", "planner", directory.path(), args)?;
        let ready = planner.ready(&ready).await?;
        let url = ready["grpc"].as_str().unwrap_or_default();

        let fleet = connect(url, executors).await?;
        let leases = (WARM.as_secs() + seconds) as usize * rate;
        let chunks = queue(url, leases + leases / 10).await?;
        let seen = work(fleet, rate, Duration::from_secs(seconds)).await?;
        println!("{}: {chunks} chunks of at most {REQUESTS} requests", database.kind());
        report(seen, seconds as f64)?;
    }
    Ok(())
}

async fn connect(url: &str, executors: usize) -> anyhow::Result<Vec<Executor>> {
    let mut fleet = Vec::with_capacity(executors);
    while fleet.len() < executors {
        let channel = Endpoint::from_shared(url.to_owned())?.tcp_nodelay(true).connect().await?;
        let streams = STREAMS.min(executors - fleet.len());
        fleet.extend(try_join_all((0..streams).map(|_| Executor::connect(channel.clone()))).await?);
    }
    Ok(fleet)
}

/// A batch with at least so many chunks; gives how many.
async fn queue(url: &str, chunks: usize) -> anyhow::Result<i64> {
    let api = Api::new(url)?;
    let chunk_limits = ChunkLimits { max_requests: REQUESTS as i32, ..Default::default() };
    let batch = Batch { chunk_limits: Some(chunk_limits), ..Default::default() };
    let batch = api.create(&Input::chats(chunks * REQUESTS, "Answer."), batch).await?;
    let queued = api.when(&batch.name, "queued", |batch| batch.plan_time.is_some()).await?;
    Ok(queued.chunks.unwrap_or_default().total)
}

/// Executors begin one after the other, so that what they do is spread over the time.
async fn work(fleet: Vec<Executor>, rate: usize, counted: Duration) -> anyhow::Result<Seen> {
    let (begin, period) = (Instant::now(), Duration::from_secs_f64(fleet.len() as f64 / rate as f64));
    let (from, each) = (begin + WARM, WARM / fleet.len() as u32);
    let mut tasks = JoinSet::new();
    for (executor, index) in fleet.into_iter().zip(0..) {
        let pace = Pace { first: begin + each * index, period, from, until: from + counted };
        tasks.spawn(executor.run(pace));
    }
    let mut all = Seen::default();
    while let Some(seen) = tasks.join_next().await {
        let seen = seen??;
        all.leases.extend(seen.leases);
        all.reports.extend(seen.reports);
        all.heartbeats.extend(seen.heartbeats);
    }
    Ok(all)
}

fn report(mut seen: Seen, seconds: f64) -> anyhow::Result<()> {
    ensure!(!seen.reports.is_empty() && !seen.heartbeats.is_empty(), "nothing was reported");
    let (leases, reports) = (seen.leases.len() as f64 / seconds, seen.reports.len() as f64 / seconds);
    let (half, most) = (percentile(&mut seen.leases, 50), percentile(&mut seen.leases, 99));
    println!("  {leases:.0} leases/s, {:.2} x the limit", leases / LEASES);
    println!(
        "  a lease takes {half:.1?}, 99 % at most {most:.1?}, {:.2} x the limit",
        most.div_duration_f64(LEASE)
    );
    let (half, most) = (percentile(&mut seen.reports, 50), percentile(&mut seen.reports, 99));
    println!("  {reports:.0} chunk reports/s made durable, {:.2} x the limit", reports / REPORTS);
    println!("  one is acked after {half:.1?}, 99 % after at most {most:.1?}; a tick is 1 s");
    let heartbeats = seen.heartbeats.len() as f64 / seconds;
    let (half, most) = (percentile(&mut seen.heartbeats, 50), percentile(&mut seen.heartbeats, 99));
    println!("  {heartbeats:.0} heartbeats/s, answered after {half:.1?}, 99 % after at most {most:.1?}");
    Ok(())
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    let rank = (times.len() * percent).div_ceil(100).saturating_sub(1);
    times.get(rank).copied().unwrap_or_default()
}
