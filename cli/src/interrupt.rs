//! Ctrl-C and SIGTERM of the client commands.

use std::{future::pending, io};

use tokio::signal::unix::{self, SignalKind};

use crate::{failure::Failure, stderr};

/// Runs `work` to its end or to the first signal; then what `work` held is dropped and
/// `goes_on` says what is left behind and how to continue.
pub(crate) async fn guard<T>(
    work: impl Future<Output = Result<T, Failure>>,
    goes_on: impl FnOnce() -> String,
) -> Result<T, Failure> {
    tokio::select! {
        result = work => result,
        () = received() => Err(Failure::Interrupted(goes_on())),
    }
}

/// Waits for a signal; for ever where signals cannot be had.
async fn received() {
    if let Err(error) = signal().await {
        stderr::note(format_args!("signals cannot be caught: {error}"));
        pending::<()>().await;
    }
}

async fn signal() -> io::Result<()> {
    let mut terminate = unix::signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result,
        _ = terminate.recv() => Ok(()),
    }
}
