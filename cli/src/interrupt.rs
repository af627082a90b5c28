//! Ctrl-C, SIGTERM and a terminal that is gone, of the client commands.

use std::{future::pending, io};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{Mutex, OnceCell},
};

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

/// Caught from the first guard on, and kept: a signal that comes between two guards ends the second.
static CAUGHT: OnceCell<Mutex<Caught>> = OnceCell::const_new();

struct Caught {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

/// Waits for a signal; for ever where signals cannot be had.
async fn received() {
    if let Err(error) = any().await {
        stderr::note(format_args!("signals cannot be caught: {error}"));
        pending::<()>().await;
    }
}

async fn any() -> io::Result<()> {
    let caught = CAUGHT.get_or_try_init(async || {
        let [interrupt, terminate] = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
        let hangup = signal(SignalKind::hangup())?;
        io::Result::Ok(Mutex::new(Caught { interrupt: interrupt?, terminate: terminate?, hangup }))
    });
    let mut caught = caught.await?.lock().await;
    let Caught { interrupt, terminate, hangup } = &mut *caught;
    tokio::select! {
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        _ = hangup.recv() => Ok(()),
    }
}
