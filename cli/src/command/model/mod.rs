//! `caravan model`

mod ensure;
mod list;
mod progress;

use super::Context;
use crate::{exit::Exit, failure::Failure, stderr};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make engines have a model: pull it, or import a file
    Ensure(ensure::Args),
    /// List the models of the fleet, each with its digest on every engine
    List,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    match args.command {
        Command::Ensure(args) => Box::pin(ensure::run(args, context)).await,
        Command::List => list::run(context).await,
    }
}

/// The beginning of a digest, enough to tell models apart; `-` if the engine tells none.
fn short(digest: &str) -> &str {
    if digest.is_empty() { "-" } else { digest.get(..12).unwrap_or(digest) }
}

/// Says that engines hold different models of one name.
fn warn_of_digests(model: &str) {
    stderr::note(format_args!(
        "warning: {model} is not the same on all engines; a batch is answered by one digest only"
    ));
}
