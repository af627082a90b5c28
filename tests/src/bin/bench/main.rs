//! Measures Caravan against a bare loop, or against a limit, in one run on one machine.
//! Figures are for people and for closing notes: no test depends on them.
//!
//! `cargo run --release -p caravan-tests --bin bench -- makespan|intake|plan|large|short|predict|leases|rows|gateway`

mod bare;
mod database;
mod executor;
mod gateway;
mod input;
mod intake;
mod large;
mod leases;
mod makespan;
mod plan;
mod predict;
mod rows;
mod short;
mod text;
mod up;

use std::path::PathBuf;

use clap::Parser;

/// What to measure.
#[derive(Debug, Parser)]
enum Bench {
    /// First lease to last commit against a bare loop of as many connections on the same engine.
    Makespan {
        /// Requests.
        #[arg(long, default_value_t = 2_000)]
        requests: usize,
        /// Slots, lanes and connections.
        #[arg(long, default_value_t = 8)]
        slots: usize,
        /// Milliseconds of the engine an answer; 0 measures Caravan alone.
        #[arg(long, default_value_t = 20)]
        answer_ms: u64,
        /// Words of the shared prompt.
        #[arg(long, default_value_t = 200)]
        system_words: usize,
    },
    /// From submit to planned, and the memory of all roles together at its peak.
    Intake {
        /// Lines.
        #[arg(long, default_value_t = 50_000)]
        lines: usize,
        /// Bytes of a line.
        #[arg(long, default_value_t = 10_000)]
        line_bytes: usize,
        /// GGUF or tokenizer.json to count with; absent: what the simulated engine shows.
        #[arg(long)]
        vocabulary: Option<PathBuf>,
    },
    /// Planning alone, records in memory, against sorting them.
    Plan {
        /// Requests.
        #[arg(long, default_value_t = 1_000_000)]
        requests: usize,
        /// Groups.
        #[arg(long, default_value_t = 100)]
        groups: u32,
    },
    /// Long requests on one prompt, counted exactly: from upload to ready to lease, against
    /// tokenizing their text once; as whole lines, and without what they share.
    Large {
        /// Vocabulary to count with: a GGUF or a `tokenizer.json`.
        #[arg(long)]
        vocabulary: PathBuf,
        /// What the baseline tokenizes with, if not that: the crate `tokenizers` reads a `tokenizer.json`.
        #[arg(long)]
        baseline: Option<PathBuf>,
        /// Requests.
        #[arg(long, default_value_t = 170_000)]
        requests: usize,
        /// Where to put some GB for the time being; by default where temporary files are.
        #[arg(long)]
        directory: Option<PathBuf>,
    },
    /// The time that a plan predicts from a profile against what comes, shape by shape; fails if a
    /// median is more than 10 % off.
    Predict {
        /// Runs of each shape.
        #[arg(long, default_value_t = 5)]
        runs: usize,
        /// Prompt tokens that a slot of the simulated engines evaluates a second.
        #[arg(long, default_value_t = 4_000.0)]
        prefill: f64,
        /// Answer tokens that it generates a second.
        #[arg(long, default_value_t = 100.0)]
        decode: f64,
        /// Milliseconds that a request takes beyond its tokens.
        #[arg(long, default_value_t = 50)]
        answer_ms: u64,
    },
    /// Leases and durable chunk reports a second of one planner, and how long a lease takes, while
    /// many executors send their heartbeats: on SQLite, then on PostgreSQL as it is shipped.
    Leases {
        /// Executors, each on a stream of its own.
        #[arg(long, default_value_t = 1_000)]
        executors: usize,
        /// Leases that all of them together ask for a second; each is reported at once.
        #[arg(long, default_value_t = 1_100)]
        rate: usize,
        /// Seconds that count.
        #[arg(long, default_value_t = 15)]
        seconds: u64,
    },
    /// Rows and bytes that a batch takes in the database, while it runs and when it has ended, at the
    /// chunk sizes that the planner makes: on SQLite and on PostgreSQL.
    Rows {
        /// Requests.
        #[arg(long, default_value_t = 1_000_000)]
        requests: u32,
        /// Lanes.
        #[arg(long, default_value_t = 128)]
        lanes: u32,
    },
    /// What it takes at the edge: a call and an upload through a gateway, and many who watch one batch at
    /// two gateways, from its commits to what they are told.
    Gateway {
        #[command(flatten)]
        audience: gateway::Audience,
        /// Megabytes of a file; another is ten times as long.
        #[arg(long, default_value_t = 100)]
        upload_mb: usize,
        /// Calls that are timed, each way.
        #[arg(long, default_value_t = 2_000)]
        calls: usize,
    },
    /// The memory that planning many short requests takes, and what of it stays.
    Short {
        /// Requests.
        #[arg(long, default_value_t = 1_000_000)]
        requests: usize,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Bench::parse() {
        Bench::Makespan { requests, slots, answer_ms, system_words } => {
            makespan::run(requests, slots, answer_ms, system_words).await
        }
        Bench::Intake { lines, line_bytes, vocabulary } => {
            intake::run(lines, line_bytes, vocabulary.as_deref()).await
        }
        Bench::Plan { requests, groups } => plan::run(requests, groups),
        Bench::Large { vocabulary, baseline, requests, directory } => {
            let baseline = baseline.as_deref().unwrap_or(&vocabulary);
            large::run(requests, (&vocabulary, baseline), directory).await
        }
        Bench::Predict { runs, prefill, decode, answer_ms } => {
            let engine = caravan_simulated_engine::Options {
                prefill,
                decode,
                answer_ms,
                answer_tokens: 20,
                ..Default::default()
            };
            predict::run(runs, &engine).await
        }
        Bench::Leases { executors, rate, seconds } => leases::run(executors, rate, seconds).await,
        Bench::Rows { requests, lanes } => rows::run(requests, lanes).await,
        Bench::Gateway { audience, upload_mb, calls } => gateway::run(&audience, upload_mb, calls).await,
        Bench::Short { requests } => short::run(requests).await,
    }
}
