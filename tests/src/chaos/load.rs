//! What the clients of a run do, and what they got.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use caravan_proto::{
    error::{self, Reason},
    v1::{
        Batch, CancelBatchRequest, CreateBatchRequest, File, QueryUploadRequest, Result as Answer,
        StreamResultsRequest, file::State, upload_file_request::Part, watch_batch_response::Event,
    },
};
use tokio::{sync::watch, time::timeout};
use tonic::Status;
use uuid::Uuid;

use super::{client::Client, order::Order};
use crate::{Api, chunk, finish, sha256, start};

/// Bytes of an upload in one message: an input takes several.
const PIECE: usize = 64 << 10;
/// After so many results a client leaves its stream and goes on elsewhere.
const LEAVES_AFTER: usize = 150;
/// An upload that is broken off has no answer: so long is one waited for.
const BROKEN_OFF: Duration = Duration::from_secs(3);

/// Requests that are final, by batch.
pub(super) type Progress = watch::Sender<Vec<u64>>;

/// What came of one batch.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) batch: Batch,
    /// In the order in which they came.
    pub(super) streamed: Vec<Answer>,
}

/// One client.
#[derive(Debug)]
pub(super) struct Load<'a> {
    pub(super) client: &'a Client,
    pub(super) order: &'a Order,
    /// Of the batch, and of the gateway that is tried first.
    pub(super) number: usize,
    /// Requests of all batches.
    pub(super) requests: usize,
    pub(super) progress: &'a Progress,
}

// === impl Load ===

impl Load<'_> {
    /// From the upload to the end of the batch.
    ///
    /// # Errors
    /// What a server refused, or which law the answers broke.
    pub(super) async fn run(&self) -> anyhow::Result<Served> {
        let Self { order, requests, .. } = self;
        let due = (order.comes_at * *requests as f64) as u64;
        self.progress.subscribe().wait_for(|done| done.iter().sum::<u64>() >= due).await?;
        let file = self.upload().await.context("upload")?;
        let request = CreateBatchRequest {
            batch: Some(Batch { input_file: file.name, ..order.policy.clone() }),
            request_id: Uuid::now_v7().to_string(),
            validate_only: false,
        };
        let created = self.persist(async |api| api.batches().create_batch(request.clone()).await);
        let name = created.await.context("create")?.into_inner().name;
        let watched = async { self.watch(&name).await.context("watch") };
        let streamed = async { self.stream(&name).await.context("stream") };
        let cancelled = async { self.cancel(&name).await.context("cancel") };
        let ((), streamed, ()) = tokio::try_join!(watched, streamed, cancelled)?;
        let batch = self.persist(async |api| api.get(&name).await).await?;
        Ok(Served { batch, streamed })
    }

    async fn persist<T>(&self, call: impl AsyncFnMut(&Api) -> Result<T, Status>) -> anyhow::Result<T> {
        self.client.persist(self.number, call).await
    }

    /// Uploads the input, from where the server has it on at each try.
    async fn upload(&self) -> anyhow::Result<File> {
        let (id, bytes) = (Uuid::now_v7().simple().to_string(), self.order.input.bytes());
        if self.order.breaks_off {
            let half = parts(&id, &bytes[..bytes.len() / 2], 0);
            let sent =
                self.persist(async |api| Ok(timeout(BROKEN_OFF, api.send(half.clone())).await)).await?;
            let ready = sent.is_ok_and(|sent| sent.is_ok_and(|file| file.state() == State::Ready));
            ensure!(!ready, "half of an upload became a file");
        }
        let resume = async |api: &Api| {
            let stored = api.files().query_upload(QueryUploadRequest { upload_id: id.clone() }).await;
            let stored = match stored {
                Ok(stored) => stored.into_inner(),
                Err(status) if error::reason(&status).as_deref() == Some(Reason::UploadNotFound.as_str()) => {
                    Default::default()
                }
                Err(status) => return Err(status),
            };
            if let Some(file) = stored.file.filter(|file| file.state() == State::Ready) {
                return Ok(file);
            }
            let from = usize::try_from(stored.committed_bytes).unwrap_or_default();
            let mut parts = parts(&id, bytes, from);
            parts.push(finish(&sha256(bytes)));
            let file = api.send(parts).await?;
            let is_ready = file.state() == State::Ready;
            is_ready
                .then_some(file)
                .ok_or_else(|| Status::unavailable("the upload ended before its last byte"))
        };
        self.persist(resume).await
    }

    /// Watches to the end; what is final stays final.
    async fn watch(&self, name: &str) -> anyhow::Result<()> {
        let (mut token, mut most) = (String::new(), 0);
        let mut tries = self.client.tries(self.number + 1);
        loop {
            let opened = tries.api()?.watch(name, &token).await;
            tries.opened(&opened);
            let status = match opened {
                Err(status) => status,
                Ok(mut stream) => loop {
                    let message = match stream.message().await {
                        Ok(Some(message)) => message,
                        Ok(None) => break Status::unavailable("the watch ended before the batch did"),
                        Err(status) => break status,
                    };
                    tries.answered();
                    token = message.resume_token;
                    let batch = match message.event {
                        Some(Event::Snapshot(batch)) => Some(batch),
                        Some(Event::Delta(delta)) => delta.batch,
                        Some(Event::Heartbeat(_)) | None => None,
                    };
                    if let Some(counts) = batch.and_then(|batch| batch.requests) {
                        let done = u64::try_from(counts.succeeded + counts.failed)?;
                        ensure!(done >= most, "{name}: {done} requests are final after {most} were");
                        most = done;
                        self.progress.send_if_modified(|all| {
                            let before = std::mem::replace(&mut all[self.number], done);
                            before != done
                        });
                    }
                    if message.r#final {
                        return Ok(());
                    }
                },
            };
            tries.failed(&status).await?;
        }
    }

    /// Streams all results, leaving the stream now and then.
    async fn stream(&self, name: &str) -> anyhow::Result<Vec<Answer>> {
        let (mut answers, mut cursor) = (Vec::new(), String::new());
        if !self.order.streams {
            return Ok(answers);
        }
        let mut tries = self.client.tries(self.number);
        loop {
            let (name, leaves_at) = (name.to_owned(), answers.len() + LEAVES_AFTER);
            let request = StreamResultsRequest { name, cursor: cursor.clone(), follow: true, order: 0 };
            let opened = tries.api()?.results(request).await;
            tries.opened(&opened);
            let status = match opened {
                Err(status) => status,
                Ok(mut stream) => loop {
                    if answers.len() >= leaves_at {
                        break Status::unavailable("the client left");
                    }
                    let message = match stream.message().await {
                        Ok(Some(message)) => message,
                        Ok(None) => break Status::unavailable("the results ended before the batch did"),
                        Err(status) => break status,
                    };
                    tries.answered();
                    answers.extend(message.results);
                    if !message.cursor.is_empty() {
                        cursor = message.cursor;
                    }
                    if message.r#final {
                        return Ok(answers);
                    }
                },
            };
            tries.failed(&status).await?;
        }
    }

    /// Cancels the batch when it is time, if it is to be.
    async fn cancel(&self, name: &str) -> anyhow::Result<()> {
        let Some(share) = self.order.cancelled_at else { return Ok(()) };
        let due = (share * self.order.input.expected().len() as f64) as u64;
        self.progress.subscribe().wait_for(|done| done[self.number] >= due).await?;
        let request = CancelBatchRequest { name: name.to_owned() };
        self.persist(async |api| api.batches().cancel_batch(request.clone()).await).await?;
        Ok(())
    }
}

/// The parts of an upload from an offset on, its end left out.
fn parts(id: &str, bytes: &[u8], from: usize) -> Vec<Part> {
    let rest = bytes.get(from..).unwrap_or_default();
    let pieces = rest.chunks(PIECE).enumerate();
    let pieces = pieces.map(|(index, data)| chunk((from + index * PIECE) as i64, data));
    [start(id)].into_iter().chain(pieces).collect()
}
