//! The command line: one module a command.

mod calibrate;
mod cancel;
mod delete;
mod files;
mod fleet;
mod get;
mod keys;
mod list;
mod model;
mod pause;
mod plan;
mod profiles;
mod results;
mod resume;
mod retry;
mod submit;
mod up;
mod usage;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{exit::Exit, failure::Failure, server, stderr};

/// The largest page that the server gives.
const LARGEST_PAGE: i32 = 1_000;

/// Runs large batches of LLM requests on a fleet of GPU hosts.
///
/// Data goes to stdout, everything else to stderr. Exit codes: 0 all answered, 1 other
/// failure, 2 usage, 3 batch rejected, 4 ended with failed requests, 5 server not reached,
/// 6 cancelled or expired, 7 denied or over quota, 64 bad configuration, 130 interrupted
/// (the batch goes on).
#[derive(Debug, Parser)]
#[command(name = "caravan", version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    context: Context,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, clap::Args)]
struct Context {
    #[command(flatten)]
    server: server::Options,
    /// Print JSON: one object, or one a line where there are many.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run all roles in one process, with embedded state
    Up(up::Args),
    /// Upload a file and run it as a batch
    Submit(submit::Args),
    /// Watch a batch until it ends
    Watch(watch::Args),
    /// Stream the results of a batch
    Results(results::Args),
    /// Show what would run, without running it
    Plan(plan::Args),
    /// Show one batch
    Get(get::Args),
    /// List batches, newest first
    List(list::Args),
    /// Cancel a batch; what is finished is kept
    Cancel(cancel::Args),
    /// Hold a batch: what runs is finished, nothing more is begun
    Pause(pause::Args),
    /// Let a paused batch go on
    Resume(resume::Args),
    /// Run the requests of an ended batch that have no answer, as a new batch
    Retry(retry::Args),
    /// Delete an ended batch with its results
    Delete(delete::Args),
    /// List files, show and delete them
    Files(files::Args),
    /// Show executors, engines, lanes and GPUs
    Fleet(fleet::Args),
    /// Give models to engines, and list them
    Model(model::Args),
    /// Make, list and revoke API keys
    Keys(keys::Args),
    /// Show what was used, by tenant, day and model
    Usage(usage::Args),
    /// Show what calibration measured, and for which engines it holds
    Profiles(profiles::Args),
    /// Measure what a model takes and gives on an engine of this host
    Calibrate(calibrate::Args),
}

// === impl Cli ===

impl Cli {
    /// Runs the command to its end.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let runtime = match tokio::runtime::Runtime::new() {
            Ok(runtime) => runtime,
            Err(error) => {
                stderr::note(format_args!("error: no runtime: {error}"));
                return Exit::Other.into();
            }
        };
        let result = runtime.block_on(self.command.run(&self.context));
        // A read of stdin that nobody waits for must not hold up the end.
        runtime.shutdown_background();
        match result {
            Ok(exit) => exit.into(),
            Err(failure) => report(&failure).into(),
        }
    }
}

// === impl Command ===

impl Command {
    async fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self {
            Self::Up(args) => Box::pin(up::run(args, context)).await,
            Self::Submit(args) => Box::pin(submit::run(args, context)).await,
            Self::Watch(args) => Box::pin(watch::run(args, context)).await,
            Self::Results(args) => Box::pin(results::run(args, context)).await,
            Self::Plan(args) => Box::pin(plan::run(args, context)).await,
            Self::Get(args) => get::run(args, context).await,
            Self::List(args) => list::run(args, context).await,
            Self::Cancel(args) => cancel::run(args, context).await,
            Self::Pause(args) => pause::run(args, context).await,
            Self::Resume(args) => resume::run(args, context).await,
            Self::Retry(args) => Box::pin(retry::run(args, context)).await,
            Self::Delete(args) => delete::run(args, context).await,
            Self::Files(args) => files::run(args, context).await,
            Self::Fleet(args) => fleet::run(args, context).await,
            Self::Model(args) => model::run(args, context).await,
            Self::Keys(args) => keys::run(args, context).await,
            Self::Usage(args) => usage::run(args, context).await,
            Self::Profiles(args) => profiles::run(args, context).await,
            Self::Calibrate(args) => Box::pin(calibrate::run(args, context)).await,
        }
    }
}

fn report(failure: &Failure) -> Exit {
    match failure {
        // The reader has what it wanted: `caravan list | head`.
        Failure::OutputClosed => {}
        Failure::Interrupted(_) => stderr::note(failure),
        _ => stderr::note(format_args!("error: {failure}")),
    }
    failure.exit()
}
