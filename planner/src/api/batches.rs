use std::{pin::Pin, sync::Arc, time::Duration};

use caravan_proto::{
    Tenant,
    error::Reason,
    name::{BatchId, FileId},
    v1::{self, batch_service_server::BatchService, stream_results_request::Order},
};
use futures::Stream;
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

use super::{
    Latest,
    latest::Look,
    name, page, status, tenant, view,
    watch::{Watch, revision},
};
use crate::{
    dispatch::{Fleet, Stop},
    garbage,
    objects::Objects,
    prepare::{self, Preparer},
    quotas,
    results::{Cursor, Page, Pages},
    signals::Signals,
    store::{Batch, Creation, NewBatch, State, Store},
    webhooks,
};

/// When a client may try again.
const RETRY: Duration = Duration::from_secs(1);
/// A stream of results on which nothing happens says so this often.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// `BatchService`.
#[derive(Clone)]
pub struct Batches {
    /// Rows.
    pub store: Arc<dyn Store>,
    /// Bytes.
    pub objects: Objects,
    /// How long batches are kept that say nothing of it.
    pub retention: Option<prost_types::Duration>,
    /// What each tenant may have under way.
    pub quotas: quotas::Options,
    /// Which webhooks batches may have.
    pub webhooks: webhooks::Options,
    /// For previews.
    pub preparer: Arc<Preparer>,
    /// To revoke leases of a batch that is cancelled.
    pub fleet: Fleet,
    /// Hints.
    pub signals: Signals,
    /// What is watched.
    pub(crate) latest: Latest,
    /// Streams under way.
    pub tasks: TaskTracker,
    /// Ends the streams.
    pub stop: CancellationToken,
}

type ResultsSender = mpsc::Sender<Result<v1::StreamResultsResponse, Status>>;

// === impl Batches ===

impl Batches {
    pub(super) async fn find(&self, tenant: &Tenant, name: &str) -> Result<Batch, Status> {
        let id = name::parse("name", name)?;
        let found = self.store.batch_of(tenant, id).await.map_err(status)?;
        found.ok_or_else(|| not_found(id))
    }

    async fn preview(&self, tenant: &Tenant, spec: v1::Batch, input: FileId) -> Result<v1::Batch, Status> {
        let file = self.store.file_of(tenant, input).await.map_err(status)?;
        let file = file.ok_or_else(|| no_file(input))?;
        if !file.ready {
            return Err(Reason::FileNotReady.status("the upload of the input is not complete"));
        }
        self.preparer.preview(&spec, &file).await.map_err(|error| match error {
            prepare::Error::Stopped => Reason::Unavailable.retry_after("the planner goes away", RETRY),
            error => status(error),
        })
    }

    async fn stream(
        &self,
        mut latest: watch::Receiver<Option<Look>>,
        cursor: Cursor,
        follow: bool,
        sender: &ResultsSender,
    ) -> Result<(), Status> {
        let mut pages = Pages::new(Arc::clone(&self.store), self.objects.clone(), cursor);
        let in_order = matches!(cursor, Cursor::Input { .. });
        let mut silent = tokio::time::Instant::now();
        loop {
            let look = latest.borrow_and_update().clone();
            let batch = look.ok_or_else(|| not_found(cursor.batch()))?.batch;
            let ended = view::ended(batch.state);
            // The state is read first: what a final page lacks did not exist when the batch ended.
            // A plan that may be made anew has no results that will last.
            let settled = !batch.provisional && !matches!(batch.state, State::Validating | State::Planning);
            let page = if !settled || (in_order && !ended) {
                Page { records: Vec::new(), cursor }
            } else {
                pages.next().await.map_err(status)?
            };
            let more = !page.records.is_empty();
            let last = !more && (ended || !follow);
            if more || last || silent.elapsed() >= HEARTBEAT {
                silent = tokio::time::Instant::now();
                tokio::select! {
                    sent = sender.send(Ok(response(page, last && ended))) => if sent.is_err() { return Ok(()) },
                    () = self.stop.cancelled() => return Err(leaving()),
                }
            }
            if last {
                return Ok(());
            }
            if more {
                continue;
            }
            tokio::select! {
                _changed_or_silent = timeout(HEARTBEAT, latest.changed()) => {}
                () = sender.closed() => return Ok(()),
                () = self.stop.cancelled() => return Err(leaving()),
            }
        }
    }
}

#[tonic::async_trait]
impl BatchService for Batches {
    async fn create_batch(
        &self,
        request: Request<v1::CreateBatchRequest>,
    ) -> Result<Response<v1::Batch>, Status> {
        let tenant = tenant(&request)?;
        let v1::CreateBatchRequest { batch, request_id, validate_only } = request.into_inner();
        let spec = batch.ok_or_else(|| Reason::InvalidArgument.field("batch", "batch must be set"))?;
        let (mut spec, input) = prepare::check_spec(spec)?;
        if !spec.webhook.is_empty() {
            let checked = self.webhooks.check(tenant.as_str(), &spec.webhook);
            checked.map_err(|wrong| Reason::InvalidArgument.field("batch.webhook", wrong.to_string()))?;
        }
        spec.retention = spec.retention.or(self.retention);
        let request_id = check_request_id(request_id)?;
        if validate_only {
            return Ok(Response::new(self.preview(&tenant, spec, input).await?));
        }
        let created = self.store.now().await.map_err(status)?;
        let deadline = prepare::deadline(&spec, created);
        let (id, quota) = (BatchId::now(), self.quotas.of(&tenant));
        let new = NewBatch { id, tenant, request_id, spec, input, created, deadline, retry: None, quota };
        match self.store.create_batch(&new).await.map_err(status)? {
            Creation::Created(batch) => {
                tracing::info!(batch = %batch.id, input = %input, "batch created");
                self.signals.upkeep();
                Ok(Response::new(view::batch(*batch)))
            }
            Creation::Existing(batch) => Ok(Response::new(view::batch(*batch))),
            Creation::Reused => {
                let message = "this request_id created another batch before: choose a new one";
                Err(Reason::RequestIdReused.field("request_id", message))
            }
            Creation::Exceeds(exceeded) => Err(quotas::refusal(exceeded)),
            Creation::NoInput => match self.store.file_of(&new.tenant, input).await.map_err(status)? {
                Some(_) => Err(Reason::FileNotReady.status("the upload of the input is not complete")),
                None => Err(no_file(input)),
            },
        }
    }

    async fn get_batch(&self, request: Request<v1::GetBatchRequest>) -> Result<Response<v1::Batch>, Status> {
        let batch = self.find(&tenant(&request)?, &request.into_inner().name).await?;
        Ok(Response::new(self.whole(batch).await?))
    }

    async fn list_batches(
        &self,
        request: Request<v1::ListBatchesRequest>,
    ) -> Result<Response<v1::ListBatchesResponse>, Status> {
        let tenant = tenant(&request)?;
        let request = request.into_inner();
        let limit = page::size(request.page_size)?;
        let before = page::token(&request.page_token)?;
        let states: Vec<State> = request.states().filter(|state| *state != State::Unspecified).collect();
        if states.len() != request.states.len() {
            return Err(Reason::InvalidArgument.field("states", "states holds a number that is no state"));
        }
        let batches = self.store.batches(&tenant, &states, before, limit).await.map_err(status)?;
        let next_page_token = page::next(batches.len(), limit, batches.last().map(|batch| batch.id));
        let batches = batches.into_iter().map(view::short).collect();
        Ok(Response::new(v1::ListBatchesResponse { batches, next_page_token }))
    }

    async fn cancel_batch(
        &self,
        request: Request<v1::CancelBatchRequest>,
    ) -> Result<Response<v1::Batch>, Status> {
        let tenant = tenant(&request)?;
        let name = request.into_inner().name;
        let id = self.find(&tenant, &name).await?.id;
        let now = self.store.now().await.map_err(status)?;
        let cancelled = self.store.cancel(id, now).await.map_err(status)?;
        let cancelled = cancelled.ok_or_else(|| not_found(id))?;
        self.signals.batch_changed();
        self.signals.upkeep();
        self.fleet.revoke(&cancelled.revoked, Stop::Now, "cancelled").await;
        Ok(Response::new(view::batch(self.find(&tenant, &name).await?)))
    }

    async fn pause_batch(
        &self,
        request: Request<v1::PauseBatchRequest>,
    ) -> Result<Response<v1::Batch>, Status> {
        self.pause(&tenant(&request)?, &request.into_inner().name).await.map(Response::new)
    }

    async fn resume_batch(
        &self,
        request: Request<v1::ResumeBatchRequest>,
    ) -> Result<Response<v1::Batch>, Status> {
        self.resume(&tenant(&request)?, &request.into_inner().name).await.map(Response::new)
    }

    async fn retry_batch(
        &self,
        request: Request<v1::RetryBatchRequest>,
    ) -> Result<Response<v1::Batch>, Status> {
        self.retry(tenant(&request)?, request.into_inner()).await.map(Response::new)
    }

    async fn delete_batch(&self, request: Request<v1::DeleteBatchRequest>) -> Result<Response<()>, Status> {
        let batch = self.find(&tenant(&request)?, &request.into_inner().name).await?;
        if !view::ended(batch.state) {
            let message = "the batch has not ended: cancel it first, or wait for its end";
            return Err(Reason::BatchNotEnded.status(message));
        }
        garbage::remove_batch(&*self.store, &self.objects, &batch).await.map_err(status)?;
        Ok(Response::new(()))
    }

    type WatchBatchStream = Pin<Box<dyn Stream<Item = Result<v1::WatchBatchResponse, Status>> + Send>>;

    async fn watch_batch(
        &self,
        request: Request<v1::WatchBatchRequest>,
    ) -> Result<Response<Self::WatchBatchStream>, Status> {
        let tenant = tenant(&request)?;
        let request = request.into_inner();
        let found = self.find(&tenant, &request.name).await?;
        let id = found.id;
        let resumed_at = revision(&request.resume_token, id, found.revision)?;
        let latest = self.latest.follow(found).await.map_err(status)?;
        // One message under way: a slow reader gets the latest state, never a queue.
        let (sender, receiver) = mpsc::channel(1);
        let watch = Watch { id, latest, sender, stop: self.stop.clone() };
        let span = tracing::info_span!("watch", batch = %id);
        self.tasks.spawn(watch.run(resumed_at).instrument(span));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    type StreamResultsStream = Pin<Box<dyn Stream<Item = Result<v1::StreamResultsResponse, Status>> + Send>>;

    async fn stream_results(
        &self,
        request: Request<v1::StreamResultsRequest>,
    ) -> Result<Response<Self::StreamResultsStream>, Status> {
        let tenant = tenant(&request)?;
        let request = request.into_inner();
        let found = self.find(&tenant, &request.name).await?;
        let id = found.id;
        let cursor = place(id, &request)?;
        let latest = self.latest.follow(found).await.map_err(status)?;
        // Two pages under way at most, each about 1 MiB.
        let (sender, receiver) = mpsc::channel(1);
        let batches = self.clone();
        let task = async move {
            if let Err(status) = batches.stream(latest, cursor, request.follow, &sender).await {
                // A client that reads nothing finds the stream cut off instead.
                let _gone = sender.send_timeout(Err(status), RETRY).await;
            }
        };
        self.tasks.spawn(task.instrument(tracing::info_span!("stream_results", batch = %id)));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

/// Where a stream of results begins.
///
/// # Errors
/// INVALID_CURSOR if the request's cursor is not one of this batch in this order.
pub fn place(id: BatchId, request: &v1::StreamResultsRequest) -> Result<Cursor, Status> {
    let start = match request.order() {
        Order::Unspecified | Order::Committed => Cursor::Committed { batch: id, segment: 0, records: 0 },
        Order::Input => Cursor::Input { batch: id, line: 0 },
    };
    if request.cursor.is_empty() {
        return Ok(start);
    }
    let given: Result<Cursor, _> = request.cursor.parse();
    let fits = |c: &Cursor| c.batch() == id && std::mem::discriminant(c) == std::mem::discriminant(&start);
    let wrong = "cursor must be the last one that StreamResults sent for this batch in this order";
    given.ok().filter(fits).ok_or_else(|| Reason::InvalidCursor.field("cursor", wrong))
}

fn response(page: Page, last: bool) -> v1::StreamResultsResponse {
    let results = page.records.into_iter().map(|record| v1::Result {
        line: record.line,
        custom_id: record.custom_id,
        succeeded: record.succeeded,
        json: record.json,
    });
    v1::StreamResultsResponse { results: results.collect(), cursor: page.cursor.to_string(), r#final: last }
}

fn leaving() -> Status {
    Reason::Unavailable.retry_after("the planner goes away: resume with the last cursor", RETRY)
}

/// The idempotency key, if there is one.
///
/// # Errors
/// INVALID_ARGUMENT if it has more than 128 bytes, or control characters.
pub fn check_request_id(request_id: String) -> Result<Option<String>, Status> {
    if request_id.len() > 128 || request_id.contains(char::is_control) {
        let message = "request_id must have at most 128 bytes, none a control character";
        return Err(Reason::InvalidArgument.field("request_id", message));
    }
    Ok(Some(request_id).filter(|id| !id.is_empty()))
}

pub(super) fn not_found(id: BatchId) -> Status {
    Reason::BatchNotFound.status(format!("there is no {}", id.name()))
}

fn no_file(id: FileId) -> Status {
    Reason::FileNotFound.field("batch.input_file", format!("there is no {}: upload it first", id.name()))
}
