//! The store in one SQLite file: the embedded default.
//!
//! One connection writes, so writers queue in this process and never meet a busy database;
//! a few others read beside it. Memory: a page cache of 8 MiB for the writer and 2 MiB a reader.

mod chunks;
mod full;
mod leases;
#[path = "../sql/mod.rs"]
mod sql;
mod statements;
#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use caravan_proto::name::BatchId;
use sqlx::{
    Connection as _, SqlitePool, Transaction,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{Error, Exclusive, Guard, Hold, Micros, Migrated};
use crate::clock;

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
    /// One process has the database, so what it does at a time is known here.
    exclusive: Arc<Mutex<HashSet<Exclusive>>>,
}

/// Takes what is exclusive out when it is dropped.
struct Held {
    all: Arc<Mutex<HashSet<Exclusive>>>,
    what: Exclusive,
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
        Self::migrate(path).await?;
        let options = options(path);
        let write = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            // When the disk is full, SQLite ends a transaction by itself. The driver then fails to roll it back
            // and counts it as open for ever: such a connection is replaced.
            .before_acquire(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) }))
            .connect_with(options.clone().pragma("cache_size", "-8192"))
            .await?;
        let read = SqlitePoolOptions::new()
            .max_connections(READERS)
            .test_before_acquire(false)
            .connect_with(options.read_only(true).pragma("cache_size", "-2048"))
            .await?;
        Ok(Self { write, read, exclusive: Arc::default() })
    }

    /// The same, as soon as the disk has space for what that writes, within `limit`.
    ///
    /// # Errors
    /// As `open`, and if there is none.
    pub(super) async fn open_within(path: &Path, limit: Duration) -> Result<Self, Error> {
        full::until_space(path, limit, async || Self::open(path).await).await
    }

    /// Brings the schema up to date, creating the file (not its directory).
    ///
    /// # Errors
    /// If the file cannot be opened, or is of a later version.
    pub async fn migrate(path: &Path) -> Result<Migrated, Error> {
        let mut connection = Connection::connect_with(&options(path)).await?;
        let migrated = sql::migrate::migrate(&mut connection, &MIGRATIONS).await?;
        connection.close().await?;
        Ok(migrated)
    }

    /// A transaction that holds the write lock from its first statement on, so that what it
    /// reads is still so when it writes. Dropped without a commit, it is rolled back.
    async fn begin(&self) -> Result<Transaction<'static, Db>, sqlx::Error> {
        self.write.begin_with("BEGIN IMMEDIATE").await
    }

    async fn now(&self) -> Result<Micros, Error> {
        Ok(clock::now())
    }

    async fn exclusive(&self, what: Exclusive) -> Result<Option<Guard>, Error> {
        // Nothing panics while it holds this lock.
        let free = self.exclusive.lock().unwrap_or_else(PoisonError::into_inner).insert(what);
        Ok(free.then(|| Guard::new(Held { all: Arc::clone(&self.exclusive), what })))
    }
}

// === impl Held ===

impl Drop for Held {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.what);
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .foreign_keys(true)
        .busy_timeout(BUSY)
        // Readers go on while the writer writes.
        .journal_mode(SqliteJournalMode::Wal)
        // Results are acked after a commit, so a commit must outlast a power cut.
        .synchronous(SqliteSynchronous::Full)
        // A long read makes the log grow; give the space back after it.
        .pragma("journal_size_limit", "67108864")
}

/// Nobody else can come between: there is one writer.
async fn hold(_: &mut Connection, _: Hold<'_>) -> Result<(), sqlx::Error> {
    Ok(())
}

/// A list of numbers, as it is bound.
fn numbers(numbers: &[i64]) -> String {
    serde_json::json!(numbers).to_string()
}

/// A list of batches, as it is bound.
fn keys(batches: &[BatchId]) -> String {
    let keys: Vec<String> = batches.iter().map(|batch| batch.uuid().simple().to_string()).collect();
    serde_json::json!(keys).to_string()
}
