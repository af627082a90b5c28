//! The program `caravan-executor`.

use std::{process::ExitCode, time::Duration};

use caravan_executor::Options;
use caravan_service::{Args, Shutdown, config, exit, telemetry};
use clap::Parser;

/// Caravan's executor: drives the engines of its host
#[derive(Debug, Parser)]
#[command(name = "caravan-executor", version)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

/// What flags say of the configuration.
#[derive(Debug, serde::Serialize)]
struct Flags {
    ready_file: Option<std::path::PathBuf>,
}

fn main() -> ExitCode {
    exit::report(&run(Cli::parse()))
}

#[tokio::main]
async fn run(cli: Cli) -> anyhow::Result<()> {
    let Args { config: file, dump_config, ready_file } = cli.args;
    let options: Options = config::load(file.as_deref(), "CARAVAN_EXECUTOR_", Flags { ready_file })?;
    if dump_config {
        print!("{}", config::dump(&options)?);
        return Ok(());
    }
    let _telemetry = telemetry::init("executor", &options.telemetry)?;
    let shutdown = Shutdown::on_signals(Duration::from_secs(options.drain_seconds))?;
    options.build().await?.run(shutdown).await?;
    Ok(())
}
