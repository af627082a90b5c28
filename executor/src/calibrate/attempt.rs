//! A step of a calibration: done, refused, or out of time.

use std::future::Future;

use tokio::time::{Instant, timeout_at};

use super::{Error, Phase};
use crate::engine::{Class, Failure};

/// How a step ended.
#[derive(Debug)]
pub(super) enum Attempt<T> {
    Done(T),
    /// The engine cannot, and why.
    Refused(Failure),
    /// Its time was over.
    Over,
}

/// Runs `work` until `end`; then it is dropped, which cancels it at the engine.
///
/// # Errors
/// If the engine is gone.
pub(super) async fn attempt<T>(
    phase: Phase,
    end: Instant,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<Attempt<T>, Error> {
    match timeout_at(end, work).await {
        Ok(Ok(done)) => Ok(Attempt::Done(done)),
        Ok(Err(failure)) if failure.class == Class::Down => Err(Error::lost(phase.doing(), &failure)),
        Ok(Err(failure)) => Ok(Attempt::Refused(failure)),
        Err(_) => Ok(Attempt::Over),
    }
}
