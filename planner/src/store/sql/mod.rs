//! The store in SQL that every database reads: compiled once for each, as a child of the module
//! that says how it is opened, and what it has to be told in words of its own.
//!
//! Ids are UUIDs, times microseconds, flags 0 and 1, and everything nested an encoded message.

mod batches;
pub(super) mod cells;
pub(super) mod claim;
mod commit;
mod files;
mod fleet;
mod keys;
pub(super) mod leases;
mod lifecycle;
mod messages;
pub(super) mod migrate;
mod planning;
mod results;
mod retention;
mod runs;
mod tenants;
#[cfg(test)]
pub(super) mod upgrade;
mod usage;
mod webhooks;

use async_trait::async_trait;
use caravan_proto::{
    Tenant,
    name::{BatchId, ExecutorId, FileId, KeyId, LeaseId, PlanId},
};

use super::{Database, Db};
use crate::store::*;

/// What can be asked: a pool, or the connection of a transaction.
trait Reader<'c>: sqlx::Executor<'c, Database = Db> {}

impl<'c, T: sqlx::Executor<'c, Database = Db>> Reader<'c> for T {}

#[async_trait]
impl Store for Database {
    async fn now(&self) -> Result<Micros, Error> {
        Self::now(self).await
    }

    async fn exclusive(&self, what: Exclusive) -> Result<Option<Guard>, Error> {
        Self::exclusive(self, what).await
    }

    async fn identity(&self, proposed: uuid::Uuid) -> Result<uuid::Uuid, Error> {
        retention::identity(self, proposed).await
    }

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

    async fn file_of(&self, tenant: &Tenant, id: FileId) -> Result<Option<File>, Error> {
        files::by_tenant(&self.read, tenant, id).await
    }

    async fn file_of_upload(&self, tenant: &Tenant, upload_id: &str) -> Result<Option<File>, Error> {
        files::by_upload(&self.read, tenant, upload_id).await
    }

    async fn files(&self, tenant: &Tenant, wanted: FileListing) -> Result<Vec<File>, Error> {
        files::list(self, tenant, wanted).await
    }

    async fn delete_file(&self, id: FileId) -> Result<FileDeletion, Error> {
        files::delete(self, id).await
    }

    async fn delete_input(&self, id: FileId, batch: BatchId) -> Result<FileDeletion, Error> {
        retention::delete_input(self, id, batch).await
    }

    async fn open_files(&self, before: Micros, limit: i64) -> Result<Vec<FileId>, Error> {
        retention::open_files(self, before, limit).await
    }

    async fn lost_outputs(&self, before: Micros, limit: i64) -> Result<Vec<FileId>, Error> {
        retention::lost_outputs(self, before, limit).await
    }

    async fn create_batch(&self, batch: &NewBatch) -> Result<Creation, Error> {
        batches::create(self, batch).await
    }

    async fn batch(&self, id: BatchId) -> Result<Option<Batch>, Error> {
        batches::by_id(&self.read, id).await
    }

    async fn batch_of(&self, tenant: &Tenant, id: BatchId) -> Result<Option<Batch>, Error> {
        batches::by_tenant(&self.read, tenant, id).await
    }

    async fn batch_of_request(&self, tenant: &Tenant, request_id: &str) -> Result<Option<Batch>, Error> {
        batches::by_request(&self.read, tenant, request_id).await
    }

    async fn defaults(&self, id: BatchId) -> Result<String, Error> {
        batches::defaults(&self.read, id).await
    }

    async fn batches(
        &self,
        tenant: &Tenant,
        states: &[State],
        before: Option<BatchId>,
        limit: i64,
    ) -> Result<Vec<Batch>, Error> {
        batches::list(self, tenant, states, before, limit).await
    }

    async fn untold(&self, now: Micros, limit: i64) -> Result<Vec<Untold>, Error> {
        webhooks::untold(self, now, limit).await
    }

    async fn told(&self, id: BatchId) -> Result<(), Error> {
        webhooks::told(self, id).await
    }

    async fn put_off(&self, id: BatchId, due: Micros) -> Result<(), Error> {
        webhooks::put_off(self, id, due).await
    }

    async fn revisions(&self, ids: &[BatchId]) -> Result<Vec<(BatchId, i64)>, Error> {
        batches::revisions(self, ids).await
    }

    async fn open_batches(&self) -> Result<Vec<OpenBatch>, Error> {
        batches::open(self).await
    }

    async fn advance(&self, id: BatchId, from: &[State], to: State, now: Micros) -> Result<bool, Error> {
        batches::advance(self, id, from, to, now).await
    }

    async fn explain(&self, id: BatchId, of: &[State], reason: &str, message: &str) -> Result<(), Error> {
        batches::explain(self, id, of, reason, message).await
    }

    async fn reset_plan(&self, id: BatchId, plan: PlanId) -> Result<bool, Error> {
        planning::reset(self, id, plan).await
    }

    async fn add_chunks(&self, id: BatchId, plan: PlanId, chunks: &[NewChunk]) -> Result<(), Error> {
        planning::add_chunks(self, id, plan, chunks).await
    }

    async fn plan_of(&self, id: BatchId) -> Result<Option<PlanId>, Error> {
        planning::plan_of(self, id).await
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

    async fn pause(&self, id: BatchId) -> Result<Option<State>, Error> {
        lifecycle::pause(self, id).await
    }

    async fn resume(&self, id: BatchId) -> Result<Option<State>, Error> {
        lifecycle::resume(self, id).await
    }

    async fn end_overdue(&self, now: Micros, limit: i64) -> Result<Vec<(BatchId, Cancellation)>, Error> {
        lifecycle::end_overdue(self, now, limit).await
    }

    async fn retries(&self, id: BatchId, limit: i64) -> Result<Vec<BatchId>, Error> {
        lifecycle::retries(self, id, limit).await
    }

    async fn finish(&self, id: BatchId, outputs: &Outputs, now: Micros) -> Result<bool, Error> {
        batches::finish(self, id, outputs, now).await
    }

    async fn retired(&self, now: Micros, limit: i64) -> Result<Vec<BatchId>, Error> {
        retention::retired(self, now, limit).await
    }

    async fn delete_batch(&self, id: BatchId) -> Result<bool, Error> {
        batches::delete(self, id).await
    }

    async fn claim(&self, wanted: &[Wanted]) -> Result<Vec<Option<Claim>>, Error> {
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
        super::leases::heartbeat(self, executor, leases, deadline).await
    }

    async fn hand_back(&self, executor: ExecutorId, lease: LeaseId, epoch: i64) -> Result<bool, Error> {
        leases::hand_back(self, executor, lease, epoch).await
    }

    async fn expire(&self, now: Micros) -> Result<u64, Error> {
        super::leases::expire(self, now).await
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

    async fn usage(&self, wanted: &UsageListing) -> Result<Vec<DailyUsage>, Error> {
        usage::list(self, wanted).await
    }

    async fn create_key(&self, key: &NewKey) -> Result<(), Error> {
        keys::create(self, key).await
    }

    async fn keys(
        &self,
        tenant: Option<&Tenant>,
        before: Option<KeyId>,
        limit: i64,
    ) -> Result<Vec<Key>, Error> {
        keys::list(self, tenant, before, limit).await
    }

    async fn revoke_key(&self, id: KeyId, now: Micros) -> Result<Option<Key>, Error> {
        keys::revoke(self, id, now).await
    }

    async fn key_of_hash(&self, sha256: &KeyHash) -> Result<Option<Key>, Error> {
        keys::find(self, sha256).await
    }

    async fn key_used(&self, id: KeyId, now: Micros) -> Result<(), Error> {
        keys::used(self, id, now).await
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
