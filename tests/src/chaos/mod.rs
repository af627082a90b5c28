//! Chaos: a fleet of real processes, work for it, faults drawn from a seed, and the books afterwards.

mod books;
mod client;
mod clock;
mod cluster;
mod config;
mod engine;
mod fault;
mod ground;
mod link;
mod load;
mod member;
mod namespace;
mod options;
mod order;
mod repeats;
mod report;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use futures::{StreamExt as _, future::try_join_all, stream::FuturesUnordered};
use tokio::time::{sleep, timeout};

pub use link::{Link, Target, Weather};
pub use options::{Objects, Options, Store};
pub use report::{Report, table};

use client::Client;
use cluster::Cluster;
use engine::Answered;
use fault::{Fault, schedule};
use load::{Load, Progress};
use order::{Order, orders};
use repeats::Struck;

/// The next fault comes at the latest so long after the one before, while there is work.
const MOST_APART: Duration = Duration::from_secs(5);

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
    let cluster = Cluster::start(options, directory).await.context("the fleet does not start")?;
    report.lacks = cluster.lacks().to_vec();
    for lack in &report.lacks {
        println!("not drawn: {lack}");
    }
    let balanced = work(&cluster, options, report).await;
    if balanced.is_err() {
        cluster.keep().await?;
    }
    balanced
}

async fn work(cluster: &Cluster, options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let (faults, orders) = (schedule(options, cluster.means()), orders(options.requests));
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
    let faulty = inject(cluster, &faults, options, &progress, struck);
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
    let answers = answers(cluster, options, &orders)?;
    let unexplained = repeats::explain(options, &mut report.struck, &answers);
    ensure!(unexplained.is_empty(), "answered again, and no fault explains it: {unexplained:?}");
    cluster.stop().await
}

/// Brings the faults about, each when its share of the work is done, while there is work.
async fn inject(
    cluster: &Cluster,
    faults: &[Fault],
    options: &Options,
    progress: &Progress,
    struck: &mut Vec<Struck>,
) -> anyhow::Result<()> {
    let (begun, requests) = (Instant::now(), options.requests as u64);
    let mut done = progress.subscribe();
    let mut holding = FuturesUnordered::new();
    for (index, fault) in faults.iter().enumerate() {
        let due = requests * (index as u64 + 1) / (faults.len() as u64 + 1);
        let mut overdue = std::pin::pin!(sleep(MOST_APART));
        let mut is_due = false;
        while !is_due || holding.len() >= options.at_once {
            tokio::select! {
                Some(ended) = holding.next(), if !holding.is_empty() => end(struck, ended?),
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
        let number = struck.len();
        struck.push(Struck { fault: *fault, from: now(), to: i64::MAX, repeats: 0 });
        holding.push(async move {
            cluster.suffer(fault).await.with_context(|| format!("after {fault}"))?;
            anyhow::Ok((number, now()))
        });
    }
    while let Some(ended) = holding.next().await {
        end(struck, ended?);
    }
    Ok(())
}

fn end(struck: &mut [Struck], (number, at): (usize, i64)) {
    if let Some(struck) = struck.get_mut(number) {
        struck.to = at;
    }
}

/// Returns when nothing has become final for too long.
async fn stalls(options: &Options, progress: &Progress) -> anyhow::Result<()> {
    let mut done = progress.subscribe();
    while let Ok(changed) = timeout(options.patience(), done.changed()).await {
        changed?;
    }
    bail!("stuck: nothing became final for {:?}, by batch: {:?}", options.patience(), done.borrow())
}

/// The answers of each engine, as it has written them down.
fn answers(cluster: &Cluster, options: &Options, orders: &[Order]) -> anyhow::Result<Vec<Vec<Answered>>> {
    let engines = (0..options.engines).map(|number| engine::answers(&cluster.answers(number)));
    let answers = engines.collect::<anyhow::Result<Vec<_>>>()?;
    let known = |answer: &Answered| orders.iter().any(|order| answer.marker.starts_with(order.name));
    ensure!(answers.iter().flatten().all(known), "an engine answered what nobody asked");
    Ok(answers)
}

/// Microseconds since 1970.
fn now() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}
