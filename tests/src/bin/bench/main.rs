//! Measures Caravan against a bare loop, or against a limit, in one run on one machine.
//! Figures are for people and for closing notes: no test depends on them.
//!
//! `cargo run --release -p caravan-tests --bin bench -- makespan|instant|intake`

mod bare;
mod input;
mod intake;
mod makespan;
mod up;

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
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Bench::parse() {
        Bench::Makespan { requests, slots, answer_ms, system_words } => {
            makespan::run(requests, slots, answer_ms, system_words).await
        }
        Bench::Intake { lines, line_bytes } => intake::run(lines, line_bytes).await,
    }
}
