//! The program `caravan-executor`.

mod calibration;

use std::{process::ExitCode, time::Duration};

use caravan_executor::Options;
use caravan_service::{
    Args, Shutdown,
    config::{self, Section},
    exit, telemetry,
};
use clap::{Parser, Subcommand};

/// Caravan's executor: drives the engines of its host
#[derive(Debug, Parser)]
#[command(name = "caravan-executor", version)]
struct Cli {
    #[command(flatten)]
    args: Args,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure what a model takes and gives on an engine of the configuration, and keep its profile
    Calibrate(calibration::Args),
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
        options.check(Section::TOP)?;
        print!("{}", config::dump(&options)?);
        return Ok(());
    }
    let _telemetry = telemetry::init("executor", &options.telemetry)?;
    if let Some(Command::Calibrate(args)) = cli.command {
        return Box::pin(calibration::run(args, &options)).await;
    }
    let shutdown = Shutdown::on_signals(Duration::from_secs(options.drain_seconds))?;
    options.build().await?.run(shutdown).await?;
    Ok(())
}
