//! Pausing, resuming and retrying batches.

use caravan_proto::{
    Tenant,
    error::Reason,
    name::{BatchId, FileId},
    v1::{self, retry_batch_request::Kind},
};
use tonic::Status;

use super::{
    batches::{Batches, check_request_id, not_found},
    name, status, view,
};
use crate::{
    dispatch::Stop,
    prepare, quotas,
    store::{Batch, Creation, NewBatch, Retry, State},
};

/// Retries of a batch that are named.
const RETRIES: i64 = 100;

impl Batches {
    pub(super) async fn pause(&self, tenant: &Tenant, name: &str) -> Result<v1::Batch, Status> {
        let id = self.find(tenant, name).await?.id;
        let state = self.store.pause(id).await.map_err(status)?.ok_or_else(|| not_found(id))?;
        if !matches!(state, State::Validating | State::Planning | State::Paused) {
            return Err(over(state));
        }
        tracing::info!(batch = %id, "paused");
        self.signals.batch_changed();
        // Upkeep tells those that are missed here: of other replicas, or leased at this very moment.
        let leases = self.store.leases(Some(id)).await.map_err(status)?;
        let held: Vec<_> = leases.iter().map(|lease| (lease.executor, lease.id)).collect();
        self.fleet.revoke(&held, Stop::AfterRequest, "paused").await;
        Ok(view::batch(self.find(tenant, name).await?))
    }

    pub(super) async fn resume(&self, tenant: &Tenant, name: &str) -> Result<v1::Batch, Status> {
        let id = self.find(tenant, name).await?.id;
        let state = self.store.resume(id).await.map_err(status)?.ok_or_else(|| not_found(id))?;
        if !matches!(state, State::Validating | State::Planning | State::Queued | State::Running) {
            return Err(over(state));
        }
        tracing::info!(batch = %id, "resumed");
        self.signals.batch_changed();
        self.signals.upkeep();
        self.signals.work();
        Ok(view::batch(self.find(tenant, name).await?))
    }

    pub(super) async fn retry(
        &self,
        tenant: Tenant,
        request: v1::RetryBatchRequest,
    ) -> Result<v1::Batch, Status> {
        let request_id = check_request_id(request.request_id.clone())?;
        let kinds = kinds(&request)?;
        if let Some(existing) = self.retried(&tenant, &request, kinds).await? {
            return Ok(view::batch(existing));
        }
        let old = self.find(&tenant, &request.name).await?;
        self.check_retry(&old, kinds).await?;
        let (input, created) = (FileId::now(), self.store.now().await.map_err(status)?);
        let defaults = self.store.defaults(old.id).await.map_err(status)?;
        let spec = v1::Batch { input_file: input.name(), defaults, ..old.spec };
        let deadline = prepare::deadline(&spec, created);
        let retry = Some(Retry { of: old.id, kinds });
        let (id, quota) = (BatchId::now(), self.quotas.of(&tenant));
        let new = NewBatch { id, tenant, request_id, spec, input, created, deadline, retry, quota };
        match self.store.create_batch(&new).await.map_err(status)? {
            Creation::Created(batch) => {
                tracing::info!(batch = %batch.id, of = %old.id, "retry created");
                self.signals.upkeep();
                Ok(view::batch(*batch))
            }
            Creation::Existing(batch) => Ok(view::batch(*batch)),
            Creation::Reused => {
                let message = "this request_id created another batch before: choose a new one";
                Err(Reason::RequestIdReused.field("request_id", message))
            }
            Creation::Exceeds(exceeded) => Err(quotas::refusal(exceeded)),
            Creation::NoInput => Err(not_found(old.id)),
        }
    }

    /// What the same request created before, whatever has become of the old batch since.
    async fn retried(
        &self,
        tenant: &Tenant,
        request: &v1::RetryBatchRequest,
        kinds: i32,
    ) -> Result<Option<Batch>, Status> {
        if request.request_id.is_empty() {
            return Ok(None);
        }
        let retry = Retry { of: name::parse("name", &request.name)?, kinds };
        let existing = self.store.batch_of_request(tenant, &request.request_id).await.map_err(status)?;
        Ok(existing.filter(|existing| existing.retry == Some(retry)))
    }

    async fn check_retry(&self, old: &Batch, kinds: i32) -> Result<(), Status> {
        if !view::ended(old.state) {
            let message = "the batch has not ended: cancel it first, or wait for its end";
            return Err(Reason::BatchNotEnded.status(message));
        }
        if old.state == State::Failed {
            let message = "the batch was rejected as a whole, nothing ran: mend its input and submit it anew";
            return Err(Reason::NothingToRetry.status(message));
        }
        let first = self.store.segments(old.id, 0, 1).await.map_err(status)?;
        let pieces = first.iter().flat_map(|segment| &segment.pieces);
        let rejected = pieces.filter(|piece| piece.chunk.is_none()).map(|piece| piece.records).sum();
        if !prepare::may_have(old, kinds, rejected) {
            return Err(Reason::NothingToRetry.status("the batch has no request that was asked for"));
        }
        match self.store.file(old.input).await.map_err(status)? {
            Some(_) => Ok(()),
            None => Err(Reason::InputDeleted.status("the input of the batch was deleted: submit it anew")),
        }
    }

    /// The batch with what only GetBatch returns.
    pub(super) async fn whole(&self, batch: Batch) -> Result<v1::Batch, Status> {
        let defaults = self.store.defaults(batch.id).await.map_err(status)?;
        let retries = self.store.retries(batch.id, RETRIES).await.map_err(status)?;
        let retries = retries.into_iter().map(BatchId::name).collect();
        Ok(v1::Batch { defaults, retries, ..view::batch(batch) })
    }
}

/// A bit for each kind of request that a retry asks for.
///
/// # Errors
/// INVALID_ARGUMENT for a number that is no kind.
pub fn kinds(request: &v1::RetryBatchRequest) -> Result<i32, Status> {
    let known: Vec<Kind> = request.kinds().filter(|kind| *kind != Kind::Unspecified).collect();
    if known.len() != request.kinds.len() {
        return Err(Reason::InvalidArgument.field("kinds", "kinds holds a number that is no kind"));
    }
    let default = [Kind::Failed, Kind::Cancelled, Kind::Expired];
    let kinds = if known.is_empty() { &default[..] } else { &known };
    Ok(kinds.iter().fold(0, |mask, kind| mask | prepare::bit(*kind)))
}

fn over(state: State) -> Status {
    let state = caravan_proto::json::enum_text(state.as_str_name(), "State");
    Reason::BatchEnded.status(format!("the batch is {state}: it cannot be paused or resumed any more"))
}
