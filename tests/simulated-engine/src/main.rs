//! The binary `simulated-engine`: a simulated engine until it is interrupted.

use anyhow::Context;
use caravan_simulated_engine::{Options, SimulatedEngine};
use clap::Parser;

#[derive(Debug, Parser)]
#[command(name = "simulated-engine", version, about = "A simulated engine with Ollama's native API")]
struct Arguments {
    #[command(flatten)]
    options: Options,
    /// File that is written whole, with the address as JSON, once the engine answers.
    #[arg(long)]
    ready_file: Option<std::path::PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let running = SimulatedEngine::start(arguments.options).context("cannot start the simulated engine")?;
    println!("simulated engine at {}", running.url());
    if let Some(path) = arguments.ready_file {
        let ready = serde_json::json!({"http": running.url(), "pid": std::process::id()});
        let partial = path.with_extension("partial");
        std::fs::write(&partial, ready.to_string()).context("cannot write the ready file")?;
        std::fs::rename(&partial, &path).context("cannot write the ready file")?;
    }
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot wait for an interrupt"),
        () = running.stopped() => anyhow::bail!("the simulated engine died of a fault"),
    }
}
