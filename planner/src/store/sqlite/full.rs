//! A disk that is full when the database is opened.

use std::{path::Path, time::Duration};

use backon::Retryable as _;

use super::Sqlite;
use crate::store::{Error, start};

/// `SQLITE_FULL`, and the `SQLITE_IOERR_…` of what SQLite writes beside rows: `WRITE`, `FSYNC` and `SHMSIZE`, the
/// index of the log, which it makes when it opens a database.
const CODES: [&str; 4] = ["13", "778", "1034", "4874"];

/// Opens the database as soon as its disk has space for what that writes.
///
/// # Errors
/// As [`Sqlite::open`], and if there is no space within `limit`.
pub(super) async fn open(path: &Path, limit: Duration) -> Result<Sqlite, Error> {
    let open = async || Sqlite::open(path).await;
    let told = |_: &Error, pause: Duration| {
        tracing::warn!(path = %path.display(), ?pause, "there is no space to open the database: make room");
    };
    let opened = open.retry(start::pauses(limit)).when(is_full).notify(told).await;
    opened.map_err(|error| match error {
        Error::Database(source) if is_full_disk(&source) => {
            Error::Full { path: path.to_owned(), seconds: limit.as_secs(), source }
        }
        error => error,
    })
}

pub(super) fn is_full(error: &Error) -> bool {
    use sqlx::migrate::MigrateError::{Execute, ExecuteMigration};

    match error {
        Error::Database(error) | Error::Migrate(Execute(error) | ExecuteMigration(error, _)) => {
            is_full_disk(error)
        }
        _ => false,
    }
}

fn is_full_disk(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| CODES.contains(&&*code))
}
