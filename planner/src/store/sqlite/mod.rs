//! The store in one SQLite file: the embedded default.
//!
//! One connection writes, so writers queue in this process and never meet a busy database;
//! a few others read beside it. Memory: a page cache of 8 MiB for the writer and 2 MiB a reader.

mod batches;
mod cells;
mod claim;
mod commit;
mod files;
mod fleet;
mod leases;
mod messages;
mod planning;
mod results;
#[cfg(test)]
mod tests;

use std::{path::Path, time::Duration};

use async_trait::async_trait;
use caravan_proto::name::{BatchId, ExecutorId, FileId, LeaseId};
use sqlx::{
    SqlitePool, Transaction,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::*;

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

type Write = Transaction<'static, sqlx::Sqlite>;

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
    async fn begin(&self) -> Result<Write, sqlx::Error> {
        self.write.begin_with("BEGIN IMMEDIATE").await
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn open_file(&self, file: &NewFile) -> Result<File, Error> {
        files::open(self, file).await
    }

    async fn append_part(&self, id: FileId, part: i64, bytes: i64) -> Result<bool, Error> {
        files::append_part(self, id, part, bytes).await
    }

    async fn close_file(&self, id: FileId, sha256: &str) -> Result<bool, Error> {
        files::close(self, id, sha256).await
    }

    async fn file(&self, id: FileId) -> Result<Option<File>, Error> {
        files::by_id(&self.read, id).await
    }

    async fn file_of_upload(&self, upload_id: &str) -> Result<Option<File>, Error> {
        files::by_upload(&self.read, upload_id).await
    }

    async fn files(&self, before: Option<FileId>, limit: i64) -> Result<Vec<File>, Error> {
        files::list(self, before, limit).await
    }

    async fn delete_file(&self, id: FileId) -> Result<FileDeletion, Error> {
        files::delete(self, id).await
    }

    async fn create_batch(&self, batch: &NewBatch) -> Result<Creation, Error> {
        batches::create(self, batch).await
    }

    async fn batch(&self, id: BatchId) -> Result<Option<Batch>, Error> {
        batches::by_id(&self.read, id).await
    }

    async fn defaults(&self, id: BatchId) -> Result<String, Error> {
        batches::defaults(&self.read, id).await
    }

    async fn batches(
        &self,
        states: &[State],
        before: Option<BatchId>,
        limit: i64,
    ) -> Result<Vec<Batch>, Error> {
        batches::list(self, states, before, limit).await
    }

    async fn open_batches(&self) -> Result<Vec<OpenBatch>, Error> {
        batches::open(self).await
    }

    async fn advance(&self, id: BatchId, from: &[State], to: State, now: Micros) -> Result<bool, Error> {
        batches::advance(self, id, from, to, now).await
    }

    async fn explain(&self, id: BatchId, reason: &str, message: &str) -> Result<(), Error> {
        batches::explain(self, id, reason, message).await
    }

    async fn reset_plan(&self, id: BatchId) -> Result<bool, Error> {
        planning::reset(self, id).await
    }

    async fn add_chunks(&self, id: BatchId, chunks: &[NewChunk]) -> Result<(), Error> {
        planning::add_chunks(self, id, chunks).await
    }

    async fn activate(&self, id: BatchId, planned: &Planned, now: Micros) -> Result<bool, Error> {
        planning::activate(self, id, planned, now).await
    }

    async fn reject(&self, id: BatchId, rejected: &Rejected, now: Micros) -> Result<bool, Error> {
        planning::reject(self, id, rejected, now).await
    }

    async fn cancel(&self, id: BatchId, now: Micros) -> Result<Option<Cancellation>, Error> {
        batches::cancel(self, id, now).await
    }

    async fn finish(&self, id: BatchId, outputs: &Outputs, now: Micros) -> Result<bool, Error> {
        batches::finish(self, id, outputs, now).await
    }

    async fn delete_batch(&self, id: BatchId) -> Result<bool, Error> {
        batches::delete(self, id).await
    }

    async fn claim(&self, wanted: &Wanted) -> Result<Option<Claim>, Error> {
        claim::claim(self, wanted).await
    }

    async fn waiting_pins(&self, id: BatchId) -> Result<Vec<Pin>, Error> {
        claim::waiting_pins(self, id).await
    }

    async fn heartbeat(
        &self,
        executor: ExecutorId,
        leases: &[Held],
        deadline: Micros,
    ) -> Result<Vec<LeaseId>, Error> {
        leases::heartbeat(self, executor, leases, deadline).await
    }

    async fn hand_back(&self, executor: ExecutorId, lease: LeaseId, epoch: i64) -> Result<bool, Error> {
        leases::hand_back(self, executor, lease, epoch).await
    }

    async fn expire(&self, now: Micros) -> Result<u64, Error> {
        leases::expire(self, now).await
    }

    async fn leases(&self, batch: Option<BatchId>) -> Result<Vec<Lease>, Error> {
        leases::in_force(self, batch).await
    }

    async fn commit(&self, id: BatchId, segment: &NewSegment, now: Micros) -> Result<Commit, Error> {
        commit::commit(self, id, segment, now).await
    }

    async fn segments(&self, id: BatchId, from: i64, limit: i64) -> Result<Vec<Segment>, Error> {
        results::segments(self, id, from, limit).await
    }

    async fn segments_at(&self, id: BatchId, numbers: &[i64]) -> Result<Vec<Segment>, Error> {
        results::segments_at(self, id, numbers).await
    }

    async fn chunk(&self, id: BatchId, chunk: i32) -> Result<Option<Chunk>, Error> {
        results::chunk(self, id, chunk).await
    }

    async fn chunks(&self, id: BatchId, from: i32, limit: i64) -> Result<Vec<Chunk>, Error> {
        results::chunks(self, id, from, limit).await
    }

    async fn uncompacted(&self, limit: i64) -> Result<Vec<(BatchId, Chunk)>, Error> {
        results::uncompacted(self, limit).await
    }

    async fn set_compacted(&self, id: BatchId, chunk: i32, object: &Compacted) -> Result<bool, Error> {
        results::set_compacted(self, id, chunk, object).await
    }

    async fn put_executor(&self, executor: &Executor) -> Result<(), Error> {
        fleet::put_executor(self, executor).await
    }

    async fn executors(&self, since: Micros) -> Result<Vec<Executor>, Error> {
        fleet::executors(self, since).await
    }

    async fn put_profile(&self, profile: &Profile) -> Result<Profile, Error> {
        fleet::put_profile(self, profile).await
    }

    async fn put_import(&self, sha256: &str, digest: &str) -> Result<(), Error> {
        fleet::put_import(self, sha256, digest).await
    }

    async fn imports(&self, sha256: &str, limit: i64) -> Result<Vec<String>, Error> {
        fleet::imports(self, sha256, limit).await
    }

    async fn learn_answers(&self, model: &str, stated: bool, answers: Answers) -> Result<(), Error> {
        fleet::learn_answers(self, model, stated, answers).await
    }

    async fn answers(&self, model: &str, stated: bool) -> Result<Option<Answers>, Error> {
        fleet::answers(self, model, stated).await
    }

    async fn profiles(&self) -> Result<Vec<Profile>, Error> {
        fleet::profiles(self).await
    }
}
