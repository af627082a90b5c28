//! Exit codes of every Caravan program: part of its interface, never renumbered.

use std::process::ExitCode;

use crate::{client, config, telemetry, tls};

/// All went well; of a batch: every request was answered.
pub const OK: u8 = 0;
/// A defect, or an error of the machine that none of the others names.
pub const FAILED: u8 = 1;
/// The command line is wrong (clap exits with it too).
pub const USAGE: u8 = 2;
/// The batch was rejected as a whole.
pub const REJECTED: u8 = 3;
/// The batch ended with failed requests.
pub const FAILED_REQUESTS: u8 = 4;
/// The server was not reached.
pub const UNREACHABLE: u8 = 5;
/// The batch ended cancelled or expired.
pub const CANCELLED: u8 = 6;
/// Permission denied or over quota.
pub const DENIED: u8 = 7;
/// The configuration is wrong.
pub const CONFIG: u8 = 64;
/// Interrupted by the user; a submitted batch goes on.
pub const INTERRUPTED: u8 = 130;

/// The exit code of a role's `main`; says on stderr what went wrong.
#[must_use]
pub fn report(result: &anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::from(OK) };
    eprintln!("error: {error:#}");
    let code = if error.chain().any(is_of_configuration) { CONFIG } else { FAILED };
    ExitCode::from(code)
}

fn is_of_configuration(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.is::<config::Error>()
        || cause.is::<tls::Error>()
        || cause.is::<client::Error>()
        || cause.is::<telemetry::Error>()
}
