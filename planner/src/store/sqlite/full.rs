//! A disk that is full when the database is opened.

use std::{path::Path, time::Duration};

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
    let what = "there is no space to open the database: make room";
    let opened = start::while_so(is_full, what, limit, open).await;
    opened.map_err(|error| match is_full(&error) {
        true => Error::Full { path: path.to_owned(), limit, source: Box::new(error) },
        false => error,
    })
}

fn is_full(error: &Error) -> bool {
    let said = error.of_database().and_then(sqlx::Error::as_database_error);
    said.and_then(sqlx::error::DatabaseError::code).is_some_and(|code| CODES.contains(&&*code))
}
