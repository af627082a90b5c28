//! `caravan-gateway`: the gateway as a process of its own.

use std::{process::ExitCode, time::Duration};

use caravan_gateway::Options;
use caravan_service::{
    Args, Shutdown,
    config::{self, Section},
    exit, ready, telemetry,
};
use clap::Parser;

/// The public edge of Caravan: gRPC and HTTP, forwarded to the planner.
#[derive(Debug, Parser)]
#[command(version)]
struct Flags {
    #[command(flatten)]
    role: Args,
}

#[tokio::main]
async fn main() -> ExitCode {
    exit::report(&run(Flags::parse().role).await)
}

async fn run(args: Args) -> anyhow::Result<()> {
    let options: Options = config::load(args.config.as_deref(), "CARAVAN_GATEWAY_", ())?;
    if args.dump_config {
        options.check(Section::TOP)?;
        print!("{}", config::dump(&options)?);
        return Ok(());
    }
    let _telemetry = telemetry::init("gateway", &options.telemetry)?;
    let shutdown = Shutdown::on_signals(Duration::from_secs(options.drain_seconds))?;
    let service = options.build().await?;
    if let Some(file) = &args.ready_file {
        ready::write(file, service.addresses())?;
    }
    service.run(shutdown).await?;
    Ok(())
}
