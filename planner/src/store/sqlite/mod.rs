//! The store in one SQLite file: the embedded default.
//!
//! One connection writes, so writers queue in this process and never meet a busy database;
//! a few others read beside it. Memory: a page cache of 8 MiB for the writer and 2 MiB a reader.

mod claim;
#[path = "../sql/mod.rs"]
mod sql;
mod statements;
#[cfg(test)]
mod tests;

use std::{path::Path, time::Duration};

use sqlx::{
    SqlitePool, Transaction,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::Error;

static MIGRATIONS: Migrator = sqlx::migrate!("src/store/sqlite/migrations");

/// Only something outside of this process can hold the lock (a backup, a shell): time for it to end.
const BUSY: Duration = Duration::from_secs(10);

/// Reads are short; more readers than cores would only wait for each other.
const READERS: u32 = 4;

/// Rows in a SQLite database.
#[derive(Debug, Clone)]
pub struct Sqlite {
    write: SqlitePool,
    read: SqlitePool,
}

type Database = Sqlite;
type Db = sqlx::Sqlite;
type Connection = sqlx::SqliteConnection;
type Row = sqlx::sqlite::SqliteRow;
type Arguments = sqlx::sqlite::SqliteArguments;

// === impl Sqlite ===

impl Sqlite {
    /// Opens the database, creating the file (not its directory) and bringing the schema up to date.
    ///
    /// # Errors
    /// If the file cannot be opened, or is of a later version.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .foreign_keys(true)
            .busy_timeout(BUSY)
            // Readers go on while the writer writes.
            .journal_mode(SqliteJournalMode::Wal)
            // Results are acked after a commit, so a commit must outlast a power cut.
            .synchronous(SqliteSynchronous::Full)
            // A long read makes the log grow; give the space back after it.
            .pragma("journal_size_limit", "67108864");
        let write = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_with(options.clone().pragma("cache_size", "-8192"))
            .await?;
        MIGRATIONS.run(&write).await?;
        let read = SqlitePoolOptions::new()
            .max_connections(READERS)
            .test_before_acquire(false)
            .connect_with(options.read_only(true).pragma("cache_size", "-2048"))
            .await?;
        Ok(Self { write, read })
    }

    /// A transaction that holds the write lock from its first statement on, so that what it
    /// reads is still so when it writes. Dropped without a commit, it is rolled back.
    async fn begin(&self) -> Result<Transaction<'static, Db>, sqlx::Error> {
        self.write.begin_with("BEGIN IMMEDIATE").await
    }
}

/// A list of numbers, as it is bound.
fn numbers(numbers: &[i64]) -> String {
    serde_json::json!(numbers).to_string()
}
