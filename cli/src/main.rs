//! The binary `caravan`.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    caravan_cli::Cli::parse().run()
}
