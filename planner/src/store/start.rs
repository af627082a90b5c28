//! A database that is not to be had yet when the planner starts.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};

use super::{Error, postgres};

/// Tries `call` again for so long while the database is away: one that was there a moment ago may be restarted now.
pub(crate) async fn patiently<T, F>(limit: Duration, call: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let is_away = |error: &Error| error.of_database().is_some_and(postgres::is_absent);
    while_so(is_away, "the database went away again", limit, call).await
}

/// Tries `call` again for so long while it fails with an error that `passes`, and says each time `what` it is.
pub(super) async fn while_so<T, F>(
    passes: impl FnMut(&Error) -> bool,
    what: &str,
    limit: Duration,
    call: impl FnMut() -> F,
) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let told = |error: &Error, pause: Duration| {
        tracing::warn!(error = error as &dyn std::error::Error, ?pause, "{what}");
    };
    call.retry(pauses(limit)).when(passes).notify(told).await
}

/// Pauses between tries, for so long in all.
pub(super) fn pauses(limit: Duration) -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(2))
        .with_jitter()
        .without_max_times()
        .with_total_delay(Some(limit))
}
