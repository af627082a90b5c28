//! Chaos: a fleet of real processes, work for it, faults drawn from a seed, and the books afterwards.
//!
//! Left out: a clock that jumps in one process (time namespaces shift only clocks that nothing here
//! is dated by, and a library in between would not be the real thing), and network namespaces (links cut,
//! silence and slow the same connections without root).

mod books;
mod client;
mod cluster;
mod config;
mod engine;
mod fault;
mod link;
mod load;
mod options;
mod order;
mod report;

use std::{
    collections::HashMap,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use futures::{StreamExt as _, future::try_join_all, stream::FuturesUnordered};
use tokio::time::{sleep, timeout};

pub use options::Options;
pub use report::{Report, table};

use client::Client;
use cluster::Cluster;
use fault::{Fault, schedule};
use load::{Load, Progress};
use options::SLOTS;
use order::{Order, orders};

/// The next fault comes at the latest so long after the one before, while there is work.
const APART: Duration = Duration::from_secs(5);

/// Runs the whole of it: what came of it stands in the report, a broken law too.
///
/// # Errors
/// If the options cannot be, or there is no room for the files of a run.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    options.check()?;
    let directory = tempfile::Builder::new().prefix("caravan-chaos-").tempdir()?;
    let mut report = Report::new(options);
    if let Err(broken) = attempt(options, directory.path(), &mut report).await {
        report.broken = Some(format!("{broken:#}"));
        report.logs = Some(directory.keep());
    }
    Ok(report)
}

async fn attempt(options: &Options, directory: &Path, report: &mut Report) -> anyhow::Result<()> {
    let (faults, orders) = (schedule(options), orders(options.requests));
    let cluster = Cluster::start(options, directory).await.context("the fleet does not start")?;
    let client = Client::new(&cluster.gateways(), options.patience())?;
    let progress = Progress::new(vec![0; orders.len()]);
    let begun = Instant::now();
    let loads = orders.iter().enumerate().map(|(number, order)| {
        let load = Load { client: &client, order, number, requests: options.requests, progress: &progress };
        async move { load.run().await.with_context(|| format!("batch {}", order.name)) }
    });
    let loads = async {
        let served = try_join_all(loads).await?;
        report.makespan = begun.elapsed();
        anyhow::Ok(served)
    };
    let struck = &mut report.struck;
    let faulty = inject(&cluster, &faults, options, &progress, struck);
    let served = tokio::select! {
        both = async { tokio::try_join!(loads, faulty) } => both?.0,
        stalled = stalls(options, &progress) => return stalled,
    };
    for (order, served) in orders.iter().zip(&served) {
        let audit = books::balance(&client, order, served).await;
        let audit = audit.with_context(|| format!("batch {} ({})", order.name, served.batch.name))?;
        report.answered += audit.answered;
        report.failed += audit.failed.len();
    }
    report.repeated = repeated(&cluster, options, &orders)?;
    report.repeats_allowed = repeats(options, &report.struck);
    let (repeated, allowed) = (report.repeated, report.repeats_allowed);
    ensure!(repeated <= allowed, "{repeated} answers were given again, where the faults allow {allowed}");
    cluster.stop().await
}

/// Brings the faults about, each when its share of the work is done, while there is work.
async fn inject(
    cluster: &Cluster,
    faults: &[Fault],
    options: &Options,
    progress: &Progress,
    struck: &mut Vec<Fault>,
) -> anyhow::Result<()> {
    let (begun, requests) = (Instant::now(), options.requests as u64);
    let mut done = progress.subscribe();
    let mut holding = FuturesUnordered::new();
    for (index, fault) in faults.iter().enumerate() {
        let due = requests * (index as u64 + 1) / (faults.len() as u64 + 1);
        let mut overdue = std::pin::pin!(sleep(APART));
        let mut is_due = false;
        while !is_due || holding.len() >= options.at_once {
            tokio::select! {
                Some(ended) = holding.next(), if !holding.is_empty() => ended?,
                reached = done.wait_for(|done| done.iter().sum::<u64>() >= due), if !is_due => {
                    reached?;
                    is_due = true;
                }
                () = &mut overdue, if !is_due => is_due = true,
            }
        }
        if done.borrow().iter().sum::<u64>() >= requests {
            break;
        }
        println!("{:7.2} s  {:3}  {fault}", begun.elapsed().as_secs_f64(), index + 1);
        struck.push(*fault);
        holding.push(async move { cluster.suffer(fault).await.with_context(|| format!("after {fault}")) });
    }
    while let Some(ended) = holding.next().await {
        ended?;
    }
    Ok(())
}

/// Returns when nothing has become final for too long.
async fn stalls(options: &Options, progress: &Progress) -> anyhow::Result<()> {
    let mut done = progress.subscribe();
    while let Ok(changed) = timeout(options.patience(), done.changed()).await {
        changed?;
    }
    bail!("stuck: nothing became final for {:?}, by batch: {:?}", options.patience(), done.borrow())
}

/// Answers that the faults may have made engines give again, at most.
fn repeats(options: &Options, struck: &[Fault]) -> usize {
    let lanes = options.engines.div_ceil(options.executors) * SLOTS;
    // A planner commits once a second.
    let a_tick = usize::try_from(1_000 / options.answer_ms.max(1)).unwrap_or(1) + 1;
    struck.iter().map(|fault| fault.repeats(lanes, a_tick)).sum()
}

/// Answers beyond the first to each request, as the engines have written them down.
fn repeated(cluster: &Cluster, options: &Options, orders: &[Order]) -> anyhow::Result<usize> {
    let mut answers: HashMap<String, usize> = HashMap::new();
    for number in 0..options.engines {
        for marker in engine::answers(&cluster.answers(number))? {
            *answers.entry(marker).or_default() += 1;
        }
    }
    let known = |marker: &str| orders.iter().any(|order| marker.starts_with(order.name));
    ensure!(answers.keys().all(|marker| known(marker)), "an engine answered what nobody asked");
    Ok(answers.values().map(|count| count - 1).sum())
}
