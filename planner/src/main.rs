//! `caravan-planner`: the planner as a process of its own.

use std::{process::ExitCode, time::Duration};

use caravan_planner::{Options, store::Migrated};
use caravan_service::{Args, Shutdown, config, exit, ready, telemetry};
use clap::{Parser, Subcommand};

/// The brain of Caravan: the only owner of state.
#[derive(Debug, Parser)]
#[command(version)]
struct Flags {
    #[command(flatten)]
    role: Args,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Command {
    /// Bring the database up to date, and exit; what a planner does by itself when it starts
    Migrate,
}

#[tokio::main]
async fn main() -> ExitCode {
    exit::report(&run(Flags::parse()).await)
}

async fn run(Flags { role: args, command }: Flags) -> anyhow::Result<()> {
    let options: Options = config::load(args.config.as_deref(), "CARAVAN_PLANNER_", ())?;
    if args.dump_config {
        print!("{}", config::dump(&options)?);
        return Ok(());
    }
    if let Some(Command::Migrate) = command {
        return migrate(options).await;
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

async fn migrate(options: Options) -> anyhow::Result<()> {
    let _telemetry = telemetry::init("planner", &options.telemetry)?;
    let Migrated { from, to } = options.migrate().await?;
    match from {
        None => println!("the database was empty and is at version {to} now"),
        Some(from) if from == to => println!("the database is at version {to} already"),
        Some(from) => println!("the database was at version {from} and is at version {to} now"),
    }
    Ok(())
}
