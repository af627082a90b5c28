//! `caravan-planner`: the planner as a process of its own.

mod command;

use std::{process::ExitCode, time::Duration};

use caravan_planner::Options;
use caravan_service::{
    Args, Shutdown,
    config::{self, Section},
    exit, ready, telemetry,
};
use clap::Parser;

use self::command::Command;

/// The brain of Caravan: the only owner of state.
#[derive(Debug, Parser)]
#[command(version)]
struct Flags {
    #[command(flatten)]
    role: Args,
    #[command(subcommand)]
    command: Option<Command>,
}

#[tokio::main]
async fn main() -> ExitCode {
    exit::report(&run(Flags::parse()).await)
}

async fn run(Flags { role: args, command }: Flags) -> anyhow::Result<()> {
    let options: Options = config::load(args.config.as_deref(), "CARAVAN_PLANNER_", ())?;
    if args.dump_config {
        options.check(Section::TOP)?;
        print!("{}", config::dump(&options)?);
        return Ok(());
    }
    if let Some(command) = command {
        return command.run(options).await;
    }
    let _telemetry = telemetry::init("planner", &options.telemetry)?;
    let shutdown = Shutdown::on_signals(Duration::from_secs(options.drain_seconds))?;
    let service = options.build().await?;
    if let Some(file) = &args.ready_file {
        ready::write(file, &ready::Ready::new(Some(service.url()), None))?;
    }
    service.run(shutdown).await?;
    Ok(())
}
