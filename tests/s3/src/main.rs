//! `caravan-test-s3 COMMAND…`: runs a command, e.g. the tests, with an S3 server.

use std::process::{Command, ExitCode};

use anyhow::Context as _;

fn main() -> anyhow::Result<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    let program = args.next().context("usage: caravan-test-s3 COMMAND…")?;
    let bucket = caravan_test_s3::bucket();
    let ended = Command::new(&program).args(args).envs(bucket.environment()).status();
    let ended = ended.with_context(|| format!("cannot start {}", program.display()))?;
    Ok(ExitCode::from(ended.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}
