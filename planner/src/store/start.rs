//! A database that is not to be had yet when the planner starts.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};

use super::{Error, postgres};

/// Tries `call` again for so long while the database is away: one that was there a moment ago may be restarted now.
pub(crate) async fn patiently<T, F>(limit: Duration, call: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let told = |error: &Error, pause: Duration| {
        tracing::warn!(error = error as &dyn std::error::Error, ?pause, "the database went away again");
    };
    call.retry(pauses(limit)).when(is_away).notify(told).await
}

fn is_away(error: &Error) -> bool {
    use sqlx::migrate::MigrateError::{Execute, ExecuteMigration};

    match error {
        Error::Database(error) | Error::Migrate(Execute(error) | ExecuteMigration(error, _)) => {
            postgres::is_absent(error)
        }
        _ => false,
    }
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
