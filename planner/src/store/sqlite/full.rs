//! A disk that is full when the database is opened.

use std::{path::Path, time::Duration};

use backon::Retryable as _;

use crate::store::{Error, start};

/// `SQLITE_FULL`, and `SQLITE_IOERR_SHMSIZE`: the index of the log, which is made when a database is opened.
const CODES: [&str; 2] = ["13", "4874"];

/// Opens the database at `path` as soon as its disk has space for what `open` writes.
///
/// # Errors
/// As `open`, and if there is no space within `limit`.
pub(super) async fn until_space<T, F>(
    path: &Path,
    limit: Duration,
    open: impl FnMut() -> F,
) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let told = |_: &Error, pause: Duration| {
        tracing::warn!(path = %path.display(), ?pause, "there is no space to open the database: make room");
    };
    let opened = open.retry(start::pauses(limit)).when(is_full).notify(told).await;
    opened.map_err(|error| match is_full(&error) {
        true => Error::Full { path: path.to_owned(), limit, source: Box::new(error) },
        false => error,
    })
}

pub(super) fn is_full(error: &Error) -> bool {
    use sqlx::migrate::MigrateError::{Execute, ExecuteMigration};

    let error = match error {
        Error::Database(error) | Error::Migrate(Execute(error) | ExecuteMigration(error, _)) => error,
        _ => return false,
    };
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| CODES.contains(&&*code))
}
