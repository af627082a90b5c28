//! All durable rows: one trait, whatever database is behind it.
//!
//! Every method is one transition or one question, and one transaction. Rows grow with
//! chunks, never with requests. Callers pass `now`, so that a test can say what time it is; where replicas
//! must agree, it is what `Store::now` says.

mod accept;
mod bits;
mod exclusive;
mod file;
mod fleet;
mod key;
mod lifecycle;
mod listing;
mod location;
mod migration;
pub mod postgres;
mod row;
mod sqlite;
pub(crate) mod start;
#[cfg(test)]
pub(crate) mod suite;
mod usage;

use async_trait::async_trait;
use caravan_proto::{
    Tenant,
    name::{BatchId, ExecutorId, FileId, KeyId, LeaseId, PlanId},
};
pub use exclusive::{Exclusive, Guard};
pub use file::*;
pub use fleet::*;
pub use key::*;
pub use lifecycle::*;
pub use listing::FileListing;
pub use location::{StoreUrl, WrongUrl};
pub use migration::Migrated;
pub use postgres::Postgres;
pub use row::*;
pub use sqlite::Sqlite;
pub use usage::{DailyUsage, Tally, UsageKey, UsageListing};

/// What a transaction holds against others that write, from before it reads.
#[derive(Debug, Clone, Copy)]
enum Hold<'t> {
    /// A batch, against all but claims of its chunks.
    Order(BatchId),
    /// A batch, against claims too.
    Alone(BatchId),
    /// A chunk, against all; with its leases as far as they have expired.
    Chunk(BatchId, i32),
    /// A file.
    File(FileId),
    /// What a tenant has under way, against more of it. Last: others may be held before.
    Tenant(&'t Tenant),
}

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database refused or is not there.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// The database did not answer when the planner started.
    #[error(
        "no database answers at {place}, tried for {seconds} s (`store.start_ms`): start it, or correct `store_url`"
    )]
    Absent {
        /// Its host and port, or its socket.
        place: String,
        /// How long it was tried.
        seconds: u64,
        /// Why the last attempt failed.
        #[source]
        source: sqlx::Error,
    },
    /// The disk of a database in a file was full when the planner started.
    #[error("there is no space to open the database {}, tried for {limit:?} (`store.start_ms`): make room", path.display())]
    Full {
        /// The file.
        path: std::path::PathBuf,
        /// How long it was tried.
        limit: std::time::Duration,
        /// Why the last attempt failed.
        #[source]
        source: Box<Error>,
    },
    /// The schema is of a later version.
    #[error(
        "the database is of a later version that this planner cannot work on (schema {found}; this planner knows \
         {known}): upgrade the planner"
    )]
    Newer {
        /// The version of the schema.
        found: i64,
        /// The last version that this planner knows.
        known: i64,
    },
    /// A migration was broken off.
    #[error("migration {version} of the database was broken off: restore the database from before it")]
    Dirty {
        /// Which.
        version: i64,
    },
    /// The schema could not be brought up to date.
    #[error("the database could not be migrated")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A row holds what this version cannot read.
    #[error("a row of {table} cannot be read: {what}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// What is wrong with the row.
        what: String,
    },
}

impl Error {
    /// What the database said, where it failed or could not be migrated.
    fn of_database(&self) -> Option<&sqlx::Error> {
        use sqlx::migrate::MigrateError::{Execute, ExecuteMigration};

        match self {
            Self::Database(error) | Self::Migrate(Execute(error) | ExecuteMigration(error, _)) => Some(error),
            _ => None,
        }
    }

    /// Whether the database is away, and not only against what it was asked.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        use sqlx::Error::{Io, PoolClosed, PoolTimedOut, Protocol, Tls, WorkerCrashed};
        matches!(
            self,
            Self::Database(Io(_) | PoolClosed | PoolTimedOut | Protocol(_) | Tls(_) | WorkerCrashed)
        )
    }
}

/// What the planner keeps in a database.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The time that replicas agree on: the database's clock where there can be several, else this process's.
    async fn now(&self) -> Result<Micros, Error>;
    /// The right to do something that one replica does at a time. None if another has it, or this one has as much
    /// under way as it may.
    async fn exclusive(&self, what: Exclusive) -> Result<Option<Guard>, Error>;

    /// Which database this is, for as long as it lives. `proposed` the first time.
    async fn identity(&self, proposed: uuid::Uuid) -> Result<uuid::Uuid, Error>;

    // === files ===

    /// Opens an upload, or returns the file that this `upload_id` opened before.
    async fn open_file(&self, file: &NewFile) -> Result<File, Error>;
    /// Registers a part of an open file behind the parts there are. False if the file is no
    /// longer open at `part` (another stream of the same upload was faster).
    async fn append_part(&self, id: FileId, part: i64, bytes: i64) -> Result<bool, Error>;
    /// Makes an open file ready and immutable. False if it was not open.
    async fn close_file(&self, id: FileId, sha256: &str) -> Result<bool, Error>;
    /// One file, whoever's.
    async fn file(&self, id: FileId) -> Result<Option<File>, Error>;
    /// One file of a tenant. Another's is not found, and no sooner or later than one that does not exist.
    async fn file_of(&self, tenant: &Tenant, id: FileId) -> Result<Option<File>, Error>;
    /// The file of a tenant's upload.
    async fn file_of_upload(&self, tenant: &Tenant, upload_id: &str) -> Result<Option<File>, Error>;
    /// The files of a tenant that a list shows.
    async fn files(&self, tenant: &Tenant, wanted: FileListing) -> Result<Vec<File>, Error>;
    /// Removes the row, unless a batch that has not ended reads it.
    async fn delete_file(&self, id: FileId) -> Result<FileDeletion, Error>;
    /// Removes the row of the input of `batch`, unless another batch, ended or not, is of it too.
    async fn delete_input(&self, id: FileId, batch: BatchId) -> Result<FileDeletion, Error>;
    /// Up to `limit` files that were opened before a time and are still open, oldest first.
    async fn open_files(&self, before: Micros, limit: i64) -> Result<Vec<FileId>, Error>;

    /// Up to `limit` outputs that were opened before a time and that no batch has: another replica was faster,
    /// or the one that wrote them is gone.
    async fn lost_outputs(&self, before: Micros, limit: i64) -> Result<Vec<FileId>, Error>;

    // === batches ===

    /// Creates a batch in state validating, if its input is ready and the tenant's; the same `request_id` again gives
    /// the first one, whatever the tenant has under way. The input of a retry is opened, for the caller to write.
    async fn create_batch(&self, batch: &NewBatch) -> Result<Creation, Error>;
    /// One batch, whoever's.
    async fn batch(&self, id: BatchId) -> Result<Option<Batch>, Error>;
    /// One batch of a tenant. Another's is not found, and no sooner or later than one that does not exist.
    async fn batch_of(&self, tenant: &Tenant, id: BatchId) -> Result<Option<Batch>, Error>;
    /// The batch that a tenant's `request_id` created.
    async fn batch_of_request(&self, tenant: &Tenant, request_id: &str) -> Result<Option<Batch>, Error>;
    /// What the lines of a batch are laid over; empty if there are no defaults, or no such batch.
    async fn defaults(&self, id: BatchId) -> Result<String, Error>;
    /// Up to `limit` batches of a tenant in one of `states` (all if empty), newest first, older than `before`.
    async fn batches(
        &self,
        tenant: &Tenant,
        states: &[State],
        before: Option<BatchId>,
        limit: i64,
    ) -> Result<Vec<Batch>, Error>;
    /// Revisions of those of these batches that there are.
    async fn revisions(&self, ids: &[BatchId]) -> Result<Vec<(BatchId, i64)>, Error>;
    /// (id, state, revision) of every batch that has not ended, oldest first: what a replica has to look after.
    async fn open_batches(&self) -> Result<Vec<OpenBatch>, Error>;
    /// Moves a batch from one of `from` to `to`; where that is an end, its leases are removed.
    /// False if it was in none of them.
    async fn advance(&self, id: BatchId, from: &[State], to: State, now: Micros) -> Result<bool, Error>;
    /// Sets the reason that goes with the state, if that is still one of `of`, it differs, and the batch has not
    /// ended. Grows the revision only then. The next change of state and the next claim clear it.
    async fn explain(&self, id: BatchId, of: &[State], reason: &str, message: &str) -> Result<(), Error>;
    /// Removes chunks, segments and counters of a batch that is planned anew: one that is validating or
    /// planning, or queued on a provisional plan (it goes back to planning), and nothing of which was
    /// ever leased. False, and nothing is changed, if it is any other: its results would be lost.
    /// From now on chunks of `plan` are added, and of no plan before it: another replica may still
    /// be at one.
    async fn reset_plan(&self, id: BatchId, plan: PlanId) -> Result<bool, Error>;
    /// Adds chunks of the plan of a batch in state planning (at most a few hundred a call). In another
    /// state, or if it is planned anew, it does nothing, and `activate` will say so.
    async fn add_chunks(&self, id: BatchId, plan: PlanId, chunks: &[NewChunk]) -> Result<(), Error>;
    /// The plan whose chunks a batch has; none before plans had names, or if there is no such batch.
    async fn plan_of(&self, id: BatchId) -> Result<Option<PlanId>, Error>;
    /// Planning has ended: planning → queued (or finalizing if there is no chunk, else paused if it was
    /// paused meanwhile), with counts
    /// and, if lines were rejected, the segment that holds their results, as number 0.
    /// False if it is not planning, or planned anew; an error if not as many chunks were added as `planned` says.
    async fn activate(&self, id: BatchId, planned: &Planned, now: Micros) -> Result<bool, Error>;
    /// Validation has failed: validating or planning → failed.
    async fn reject(&self, id: BatchId, rejected: &Rejected, now: Micros) -> Result<bool, Error>;
    /// queued, running or paused → cancelling, and removes its leases; validating or planning → cancelled,
    /// and removes its chunks; any other stays. Gives the state now and the leases removed, with their holders.
    async fn cancel(&self, id: BatchId, now: Micros) -> Result<Option<Cancellation>, Error>;
    /// Holds a batch: queued or running → paused; one that is validating or planning is paused once it is
    /// planned; any other stays. Its leases go on: it is the caller's to have them handed back. Gives the
    /// state now.
    async fn pause(&self, id: BatchId) -> Result<Option<State>, Error>;
    /// Lets a batch go on: paused → running if anything of it was ever leased, else queued; takes back a
    /// pause that was to come. Gives the state now.
    async fn resume(&self, id: BatchId) -> Result<Option<State>, Error>;
    /// Ends up to `limit` batches whose deadline is `now` or has passed: queued, running or paused →
    /// finalizing, marked as expired, and removes their leases; validating or planning → expired, and removes
    /// their chunks. Gives each with its state and the leases removed; another replica gets none of them.
    async fn end_overdue(&self, now: Micros, limit: i64) -> Result<Vec<(BatchId, Cancellation)>, Error>;
    /// Up to `limit` batches that retry this one, oldest first.
    async fn retries(&self, id: BatchId, limit: i64) -> Result<Vec<BatchId>, Error>;
    /// The outputs stand and no request is open: finalizing → completed, or expired if it is marked so;
    /// cancelling → cancelled.
    async fn finish(&self, id: BatchId, outputs: &Outputs, now: Micros) -> Result<bool, Error>;
    /// Up to `limit` batches that ended longer ago than they are to be kept, oldest end first.
    async fn retired(&self, now: Micros, limit: i64) -> Result<Vec<BatchId>, Error>;
    /// Up to `limit` batches whose end is to be told to a webhook, and not before `now`, the longest due first.
    async fn untold(&self, now: Micros, limit: i64) -> Result<Vec<Untold>, Error>;
    /// The end of a batch was told, or is not to be told any more.
    async fn told(&self, id: BatchId) -> Result<(), Error>;
    /// The end of a batch could not be told: it is to be told again, not before `due`.
    async fn put_off(&self, id: BatchId, due: Micros) -> Result<(), Error>;
    /// Removes an ended batch with all its rows. Its objects are the caller's to remove.
    async fn delete_batch(&self, id: BatchId) -> Result<bool, Error>;

    // === leases ===

    /// Leases the best queued chunk for each lane, one after the other; gives a claim or none for each, in order.
    /// All in one transaction, as far as it meets nobody, so ask with a bounded number. Of the highest priority that has any: the next of the
    /// warm share, else the first of a share that nobody has begun, else the last of any (a theft
    /// from the tail); among those of older batches first, then by chunk number. Only chunks that the
    /// engine qualifies for, of batches that are queued or running; a queued batch becomes running. The
    /// first claim of a model pins the digest that it was offered with; no other is leased from then on.
    async fn claim(&self, wanted: &[Wanted]) -> Result<Vec<Option<Claim>>, Error>;
    /// The pins of models of which chunks are queued.
    async fn waiting_pins(&self, id: BatchId) -> Result<Vec<Pin>, Error>;
    /// Renews leases of `executor`, and revives those that expired but that nobody claimed since.
    /// Never shortens one. Gives those that it holds no longer.
    async fn heartbeat(
        &self,
        executor: ExecutorId,
        leases: &[Held],
        deadline: Micros,
    ) -> Result<Vec<LeaseId>, Error>;
    /// Gives back a lease; its chunk is queued again if this was its newest lease. False if it was not held.
    async fn hand_back(&self, executor: ExecutorId, lease: LeaseId, epoch: i64) -> Result<bool, Error>;
    /// Queues the chunks of leases whose deadline is `now` or has passed. The lease rows stay, marked, until
    /// somebody claims the chunk. Gives the number of leases that expired.
    async fn expire(&self, now: Micros) -> Result<u64, Error>;
    /// Leases in force, of one batch or of all.
    async fn leases(&self, batch: Option<BatchId>) -> Result<Vec<Lease>, Error>;

    // === results ===

    /// Makes results final: sets the bits that are still clear, registers the segment with the mask
    /// of what *this* call made final under the batch's next cursor number, and moves the counters.
    /// Registers nothing if nothing was new. The last request of a chunk makes it done and removes its
    /// leases; the last chunk moves queued, running or paused to finalizing. What was new is added to what the
    /// tenant used of its model on the day of `now`.
    async fn commit(&self, id: BatchId, segment: &NewSegment, now: Micros) -> Result<Commit, Error>;
    /// Up to `limit` segments with a cursor number of at least `from`, in order.
    async fn segments(&self, id: BatchId, from: i64, limit: i64) -> Result<Vec<Segment>, Error>;
    /// The segments with these cursor numbers, in order.
    async fn segments_at(&self, id: BatchId, numbers: &[i64]) -> Result<Vec<Segment>, Error>;
    /// One chunk.
    async fn chunk(&self, id: BatchId, chunk: i32) -> Result<Option<Chunk>, Error>;
    /// Up to `limit` chunks of a batch from number `from` on, in order.
    async fn chunks(&self, id: BatchId, from: i32, limit: i64) -> Result<Vec<Chunk>, Error>;
    /// Up to `limit` chunks that are done and not compacted, of batches that have not ended.
    async fn uncompacted(&self, limit: i64) -> Result<Vec<(BatchId, Chunk)>, Error>;
    /// A chunk's results now stand in one object, in line order. False if another was faster.
    async fn set_compacted(&self, id: BatchId, chunk: i32, object: &Compacted) -> Result<bool, Error>;

    // === usage ===

    /// What tenants used, as a list shows it, by tenant, day and model. It outlasts the batches.
    async fn usage(&self, wanted: &UsageListing) -> Result<Vec<DailyUsage>, Error>;

    // === keys ===

    /// Makes a key.
    async fn create_key(&self, key: &NewKey) -> Result<(), Error>;
    /// Up to `limit` keys, of one tenant or of all, newest first, older than `before`.
    async fn keys(
        &self,
        tenant: Option<&Tenant>,
        before: Option<KeyId>,
        limit: i64,
    ) -> Result<Vec<Key>, Error>;
    /// Revokes a key, if it is not revoked already. Gives it as it is now.
    async fn revoke_key(&self, id: KeyId, now: Micros) -> Result<Option<Key>, Error>;
    /// The key with this hash, good or not.
    async fn key_of_hash(&self, sha256: &KeyHash) -> Result<Option<Key>, Error>;
    /// Remembers when a key was used.
    async fn key_used(&self, id: KeyId, now: Micros) -> Result<(), Error>;

    // === fleet ===

    /// Remembers an executor as last seen. `detail` is its encoded message.
    async fn put_executor(&self, executor: &Executor) -> Result<(), Error>;
    /// Executors seen at or after `since`.
    async fn executors(&self, since: Micros) -> Result<Vec<Executor>, Error>;
    /// Remembers a profile under what it holds for (`caravan_proto::profile`): the newest stays. Gives the one
    /// that stands there now.
    async fn put_profile(&self, profile: &Profile) -> Result<Profile, Error>;
    /// Every profile, by model, newest first.
    async fn profiles(&self) -> Result<Vec<Profile>, Error>;
    /// Remembers that an engine made a model of this digest of the file with this SHA-256.
    async fn put_import(&self, sha256: &str, digest: &str) -> Result<(), Error>;
    /// Up to `limit` digests that engines made of a file.
    async fn imports(&self, sha256: &str, limit: i64) -> Result<Vec<String>, Error>;
    /// Remembers how many answer tokens came of those that a batch allowed; each batch counts as much
    /// as all before it. Apart for requests that `stated` what they allow.
    async fn learn_answers(&self, model: &str, stated: bool, answers: Answers) -> Result<(), Error>;
    /// What was learned of a model's answers.
    async fn answers(&self, model: &str, stated: bool) -> Result<Option<Answers>, Error>;
}
