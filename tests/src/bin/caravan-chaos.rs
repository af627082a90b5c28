//! Runs a fleet of real processes through faults drawn from a seed, and holds what came of it against the
//! input. Exits with 1 at the first law that is broken, and keeps logs and data of that run.
//!
//! `cargo build --workspace && cargo run -p caravan-tests --bin caravan-chaos -- --requests 20000 --faults 200 --runs 5`

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use caravan_tests::chaos::{self, Options};
use clap::Parser;

#[derive(Debug, Parser)]
#[command(name = "caravan-chaos", version, about = "Faults from a seed, and the books afterwards")]
struct Arguments {
    #[command(flatten)]
    options: Options,
    /// Runs, each with the seed after the one before.
    #[arg(long, default_value_t = 1)]
    runs: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let Arguments { options, runs } = Arguments::parse();
    tokio::select! {
        code = all(&options, runs) => code,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted.context("cannot wait for an interrupt")?;
            bail!("interrupted")
        }
    }
}

async fn all(options: &Options, runs: u64) -> anyhow::Result<ExitCode> {
    let mut reports = Vec::new();
    for seed in options.seed..options.seed + runs {
        println!("seed {seed}");
        let report = chaos::run(&Options { seed, ..options.clone() }).await?;
        println!("{}", report.to_json());
        let broken = report.broken.is_some();
        reports.push(report);
        if broken {
            break;
        }
    }
    println!("\n{}", chaos::table(&reports));
    let broken = reports.iter().find(|report| report.broken.is_some());
    let Some(report) = broken else { return Ok(ExitCode::SUCCESS) };
    eprintln!("broken: {}", report.broken.as_deref().unwrap_or_default());
    if let Some(logs) = &report.logs {
        eprintln!("logs and data: {}", logs.display());
    }
    Ok(ExitCode::FAILURE)
}
