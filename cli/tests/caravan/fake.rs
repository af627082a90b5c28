//! A server of the public services that does as it is told, and the binary run against it.

use std::{
    collections::{HashMap, VecDeque},
    path::Path,
    pin::Pin,
    process::{Output, Stdio},
    result::Result,
    sync::{Arc, Mutex, MutexGuard},
};

use caravan_proto::{
    error::Reason,
    v1::{
        batch_service_server::{BatchService, BatchServiceServer},
        file_service_server::{FileService, FileServiceServer},
        upload_file_request::Part,
        *,
    },
};
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpListener, process::Command, task::JoinSet};
use tokio_stream::{Stream, StreamExt as _, wrappers::TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, codec::CompressionEncoding::Zstd, transport::Server};

/// Id of the one batch there is.
pub(crate) const BATCH: &str = "batch_0190a0000000700080000000000000ab";
/// File name that every upload gets.
pub(crate) const FILE: &str = "files/file_0190a0000000700080000000000000cd";

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What the server does, and what it saw.
#[derive(Default)]
pub(crate) struct Script {
    /// Breaks an upload once so many bytes of it are stored; one entry a break.
    pub(crate) upload_breaks: VecDeque<usize>,
    /// Status of CreateBatch; none: accepted.
    pub(crate) create: Option<Status>,
    /// Messages of each WatchBatch in turn; `hang` after the last of all, else UNAVAILABLE.
    pub(crate) watches: VecDeque<Vec<WatchBatchResponse>>,
    /// Whether the last watch stays open when its messages are sent.
    pub(crate) hang: bool,
    /// The batch, as GetBatch has it.
    pub(crate) batch: Batch,
    /// Messages of each StreamResults in turn.
    pub(crate) results: VecDeque<Vec<StreamResultsResponse>>,
    /// Files by name.
    pub(crate) files: HashMap<String, Vec<u8>>,
    /// Breaks a download after so many bytes; one entry a break.
    pub(crate) download_breaks: VecDeque<usize>,

    /// Uploads by their id.
    pub(crate) uploads: HashMap<String, Vec<u8>>,
    /// Offset of the first chunk of every UploadFile.
    pub(crate) upload_offsets: Vec<i64>,
    /// How every UploadFile was compressed.
    pub(crate) upload_encodings: Vec<Option<String>>,
    /// Every CreateBatch.
    pub(crate) created: Vec<CreateBatchRequest>,
    /// Every RetryBatch.
    pub(crate) retried: Vec<RetryBatchRequest>,
    /// Token of every WatchBatch.
    pub(crate) tokens: Vec<String>,
    /// Cursor of every StreamResults.
    pub(crate) cursors: Vec<String>,
    /// Names of deleted files.
    pub(crate) deleted: Vec<String>,
}

/// A running server; it ends when dropped.
pub(crate) struct Fake {
    script: Arc<Mutex<Script>>,
    url: String,
    _serving: JoinSet<()>,
}

#[derive(Clone)]
struct Service(Arc<Mutex<Script>>);

// === impl Fake ===

impl Fake {
    pub(crate) async fn start(script: Script) -> Self {
        let script = Arc::new(Mutex::new(script));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let service = Service(Arc::clone(&script));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            Server::builder()
                .add_service(FileServiceServer::new(service.clone()).accept_compressed(Zstd))
                .add_service(BatchServiceServer::new(service).accept_compressed(Zstd))
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
                .expect("served");
        });
        Self { script, url, _serving: serving }
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().expect("the script")
    }

    /// The binary, to be run against this server in `dir`.
    pub(crate) fn command(&self, dir: &Path, args: &[&str]) -> Command {
        let mut command = caravan(dir, args);
        command.env("CARAVAN_SERVER", &self.url);
        command
    }

    /// Runs the binary to its end.
    pub(crate) async fn run(&self, dir: &Path, args: &[&str]) -> Output {
        self.command(dir, args).output().await.expect("caravan runs")
    }
}

/// The binary in `dir`, with no environment that a developer's machine may have.
pub(crate) fn caravan(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_caravan"));
    command.args(args).current_dir(dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_remove("CARAVAN_SERVER").env_remove("CARAVAN_PATIENCE").kill_on_drop(true);
    command
}

/// The lines of stdout, each a JSON value.
pub(crate) fn json_lines(output: &Output) -> Vec<serde_json::Value> {
    let text = str::from_utf8(&output.stdout).expect("UTF-8");
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}")))
        .collect()
}

/// Exit code, with stderr shown if it is another one.
#[track_caller]
pub(crate) fn assert_exit(output: &Output, code: i32) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
}

impl Service {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().expect("the script")
    }
}

// === impl FileService for Service ===

#[tonic::async_trait]
impl FileService for Service {
    async fn upload_file(
        &self,
        request: Request<Streaming<UploadFileRequest>>,
    ) -> Result<Response<File>, Status> {
        let encoding = request.metadata().get("grpc-encoding");
        let encoding = encoding.map(|name| name.to_str().expect("a word").to_owned());
        self.script().upload_encodings.push(encoding);
        let mut parts = request.into_inner();
        let mut id = String::new();
        let mut first = true;
        while let Some(message) = parts.message().await? {
            let mut script = self.script();
            match message.part {
                Some(Part::Start(start)) => {
                    id = start.upload_id;
                    script.uploads.entry(id.clone()).or_default();
                }
                Some(Part::Chunk(chunk)) => {
                    if std::mem::take(&mut first) {
                        script.upload_offsets.push(chunk.offset);
                    }
                    let stored = script.uploads.get_mut(&id).expect("a start");
                    if usize::try_from(chunk.offset) != Ok(stored.len()) {
                        return Err(Reason::OffsetMismatch.status("not where the upload stands"));
                    }
                    stored.extend_from_slice(&chunk.data);
                    let size = stored.len();
                    if script.upload_breaks.front().is_some_and(|&at| size >= at) {
                        script.upload_breaks.pop_front();
                        return Err(Status::unavailable("broken by the test"));
                    }
                }
                Some(Part::Finish(finish)) => {
                    let bytes = script.uploads[&id].clone();
                    let sha256: String =
                        Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
                    if sha256 != finish.sha256 {
                        return Err(Reason::ChecksumMismatch.status("other bytes"));
                    }
                    return Ok(Response::new(ready(FILE, bytes.len())));
                }
                None => return Err(Reason::UploadOutOfOrder.status("an empty part")),
            }
        }
        Err(Reason::UploadOutOfOrder.status("no finish"))
    }

    async fn query_upload(
        &self,
        request: Request<QueryUploadRequest>,
    ) -> Result<Response<QueryUploadResponse>, Status> {
        let script = self.script();
        let upload = script.uploads.get(&request.into_inner().upload_id);
        let stored = upload.ok_or_else(|| Reason::UploadNotFound.status("no such upload"))?;
        let committed_bytes = i64::try_from(stored.len()).expect("a size");
        Ok(Response::new(QueryUploadResponse { committed_bytes, file: None }))
    }

    async fn get_file(&self, request: Request<GetFileRequest>) -> Result<Response<File>, Status> {
        let name = request.into_inner().name;
        let size = self.script().files.get(&name).map(Vec::len);
        let size = size.ok_or_else(|| Reason::FileNotFound.status("no such file"))?;
        Ok(Response::new(ready(&name, size)))
    }

    async fn list_files(&self, _: Request<ListFilesRequest>) -> Result<Response<ListFilesResponse>, Status> {
        Ok(Response::new(ListFilesResponse::default()))
    }

    async fn delete_file(&self, request: Request<DeleteFileRequest>) -> Result<Response<()>, Status> {
        self.script().deleted.push(request.into_inner().name);
        Ok(Response::new(()))
    }

    type DownloadFileStream = Answers<DownloadFileResponse>;

    async fn download_file(
        &self,
        request: Request<DownloadFileRequest>,
    ) -> Result<Response<Self::DownloadFileStream>, Status> {
        let request = request.into_inner();
        let mut script = self.script();
        let from = usize::try_from(request.offset).expect("an offset");
        let mut rest = script.files[&request.name][from..].to_vec();
        let broken = script.download_breaks.pop_front();
        rest.truncate(broken.unwrap_or(usize::MAX));
        let offset = request.offset;
        let mut pieces = vec![Ok(DownloadFileResponse { offset, data: rest.into() })];
        if broken.is_some() {
            pieces.push(Err(Status::unavailable("broken by the test")));
        }
        Ok(Response::new(Box::pin(tokio_stream::iter(pieces))))
    }
}

fn ready(name: &str, size: usize) -> File {
    File {
        name: name.to_owned(),
        state: file::State::Ready.into(),
        size_bytes: i64::try_from(size).expect("a size"),
        ..Default::default()
    }
}

// === impl BatchService for Service ===

#[tonic::async_trait]
impl BatchService for Service {
    async fn create_batch(&self, request: Request<CreateBatchRequest>) -> Result<Response<Batch>, Status> {
        let request = request.into_inner();
        let mut script = self.script();
        script.created.push(request.clone());
        if let Some(status) = script.create.take() {
            return Err(status);
        }
        if request.validate_only {
            return Ok(Response::new(script.batch.clone()));
        }
        let mut batch = request.batch.unwrap_or_default();
        batch.name = format!("batches/{BATCH}");
        batch.state = batch::State::Validating.into();
        Ok(Response::new(batch))
    }

    async fn get_batch(&self, _: Request<GetBatchRequest>) -> Result<Response<Batch>, Status> {
        Ok(Response::new(self.script().batch.clone()))
    }

    async fn list_batches(
        &self,
        _: Request<ListBatchesRequest>,
    ) -> Result<Response<ListBatchesResponse>, Status> {
        let batches = vec![self.script().batch.clone()];
        Ok(Response::new(ListBatchesResponse { batches, next_page_token: String::new() }))
    }

    async fn cancel_batch(&self, _: Request<CancelBatchRequest>) -> Result<Response<Batch>, Status> {
        Ok(Response::new(self.script().batch.clone()))
    }

    async fn pause_batch(&self, _: Request<PauseBatchRequest>) -> Result<Response<Batch>, Status> {
        Ok(Response::new(Batch { state: batch::State::Paused.into(), ..self.script().batch.clone() }))
    }

    async fn resume_batch(&self, _: Request<ResumeBatchRequest>) -> Result<Response<Batch>, Status> {
        Err(Reason::BatchEnded.status("the batch is completed"))
    }

    async fn retry_batch(&self, request: Request<RetryBatchRequest>) -> Result<Response<Batch>, Status> {
        let request = request.into_inner();
        let retried_from = request.name.clone();
        self.script().retried.push(request);
        let (name, state) = (format!("batches/{BATCH}"), batch::State::Validating.into());
        Ok(Response::new(Batch { name, state, retried_from, ..Default::default() }))
    }

    async fn delete_batch(&self, _: Request<DeleteBatchRequest>) -> Result<Response<()>, Status> {
        Err(Reason::BatchNotEnded.status("the batch has not ended: cancel it first"))
    }

    type WatchBatchStream = Answers<WatchBatchResponse>;

    async fn watch_batch(
        &self,
        request: Request<WatchBatchRequest>,
    ) -> Result<Response<Self::WatchBatchStream>, Status> {
        let mut script = self.script();
        script.tokens.push(request.into_inner().resume_token);
        let messages = script.watches.pop_front().ok_or_else(|| Status::unavailable("draining"))?;
        let hang = script.hang && script.watches.is_empty();
        let sent = tokio_stream::iter(messages.into_iter().map(Ok).collect::<Vec<_>>());
        if hang {
            return Ok(Response::new(Box::pin(sent.chain(tokio_stream::pending()))));
        }
        let ended =
            tokio_stream::iter([Err(Reason::Unavailable.retry_after("draining", std::time::Duration::ZERO))]);
        Ok(Response::new(Box::pin(sent.chain(ended))))
    }

    type StreamResultsStream = Answers<StreamResultsResponse>;

    async fn stream_results(
        &self,
        request: Request<StreamResultsRequest>,
    ) -> Result<Response<Self::StreamResultsStream>, Status> {
        let mut script = self.script();
        script.cursors.push(request.into_inner().cursor);
        let messages = script.results.pop_front().ok_or_else(|| Status::unavailable("draining"))?;
        Ok(Response::new(Box::pin(tokio_stream::iter(messages.into_iter().map(Ok).collect::<Vec<_>>()))))
    }
}
