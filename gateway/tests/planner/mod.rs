//! A planner that answers from a script and remembers what it was asked.

use std::{sync::Arc, time::Duration};

use caravan_proto::{
    error::Reason,
    name::BatchId,
    resume::ResumeToken,
    v1::{
        Batch, CancelBatchRequest, CreateBatchRequest, DeleteBatchRequest, DeleteFileRequest,
        DownloadFileRequest, DownloadFileResponse, File, GetBatchRequest, GetFileRequest, Heartbeat,
        ListBatchesRequest, ListBatchesResponse, ListFilesRequest, ListFilesResponse, PauseBatchRequest,
        QueryUploadRequest, QueryUploadResponse, ResumeBatchRequest, RetryBatchRequest, StreamResultsRequest,
        StreamResultsResponse, UploadFileRequest, WatchBatchRequest, WatchBatchResponse,
        batch_service_server::{BatchService, BatchServiceServer},
        file_service_server::{FileService, FileServiceServer},
        watch_batch_response::Event,
    },
};
use caravan_service::{
    Shutdown,
    compression::ACCEPTED,
    listen,
    serve::{self, Services},
};
use futures::{StreamExt as _, stream, stream::BoxStream};
use tokio::{
    sync::{broadcast, watch},
    task::JoinSet,
};
use tokio_stream::wrappers::BroadcastStream;
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap};

/// How an upload stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upload {
    /// So many messages came.
    Open(usize),
    /// The client ended it well.
    Complete(usize),
    /// It broke.
    Broken,
}

/// The fake.
#[derive(Debug, Clone)]
pub(crate) struct Planner {
    pub(crate) batch: Arc<Batch>,
    pub(crate) upload: watch::Sender<Upload>,
    pub(crate) metadata: watch::Sender<MetadataMap>,
    /// Tokens of the watches that began.
    pub(crate) tokens: watch::Sender<Vec<String>>,
    /// What watches say after their snapshot; each that is open listens.
    pub(crate) says: broadcast::Sender<Result<WatchBatchResponse, Status>>,
}

impl Planner {
    /// A planner that has one batch.
    pub(crate) fn new(batch: Batch) -> Self {
        Self {
            batch: Arc::new(batch),
            upload: watch::Sender::new(Upload::Open(0)),
            metadata: watch::Sender::new(MetadataMap::new()),
            tokens: watch::Sender::new(Vec::new()),
            says: broadcast::Sender::new(16),
        }
    }

    /// The token of its batch at a revision.
    pub(crate) fn token(&self, revision: i64) -> String {
        let batch = self.batch.name.parse().expect("a name");
        ResumeToken { batch, revision }.to_string()
    }

    /// Serves it on a port of its own; gives its URL.
    pub(crate) async fn serve(&self, tasks: &mut JoinSet<()>) -> (String, Shutdown) {
        let bound = listen::bind("127.0.0.1:0").await.expect("a free port");
        let (url, shutdown) = (bound.url(), Shutdown::new(Duration::ZERO));
        let services = Services::new()
            .add(FileServiceServer::new(self.clone()).accept_compressed(ACCEPTED).send_compressed(ACCEPTED))
            .add(BatchServiceServer::new(self.clone()).accept_compressed(ACCEPTED).send_compressed(ACCEPTED));
        let handle = shutdown.clone();
        tasks.spawn(async move {
            serve::serve(bound, services, &serve::Options::default(), handle).await.expect("the fake serves");
        });
        (url, shutdown)
    }
}

/// An error with all that an error can carry.
pub(crate) fn no_such_batch(name: &str) -> Status {
    let mut status = Reason::BatchNotFound.metadata("no such batch", [("name", name.to_owned())]);
    status.metadata_mut().insert("x-note", "kept".parse().expect("a value"));
    status
}

#[tonic::async_trait]
impl BatchService for Planner {
    type WatchBatchStream = BoxStream<'static, Result<WatchBatchResponse, Status>>;
    type StreamResultsStream = BoxStream<'static, Result<StreamResultsResponse, Status>>;

    async fn get_batch(&self, request: Request<GetBatchRequest>) -> Result<Response<Batch>, Status> {
        self.metadata.send_replace(request.metadata().clone());
        let name = &request.get_ref().name;
        let same = name.parse::<BatchId>().is_ok_and(|id| id.name() == self.batch.name);
        if same { Ok(Response::new(Batch::clone(&self.batch))) } else { Err(no_such_batch(name)) }
    }

    /// One snapshot, unless the token is that of the batch; then what the script says.
    async fn watch_batch(
        &self,
        request: Request<WatchBatchRequest>,
    ) -> Result<Response<Self::WatchBatchStream>, Status> {
        self.metadata.send_replace(request.metadata().clone());
        let WatchBatchRequest { name, resume_token } = request.into_inner();
        let is_current = resume_token == self.token(self.batch.revision);
        if !resume_token.is_empty() && !resume_token.starts_with(&self.token(0)[..33]) {
            return Err(Reason::InvalidResumeToken.field("resume_token", "not one of this batch"));
        }
        self.tokens.send_modify(|tokens| tokens.push(resume_token));
        if !name.parse::<BatchId>().is_ok_and(|id| id.name() == self.batch.name) {
            return Err(no_such_batch(&name));
        }
        let event = if is_current {
            Event::Heartbeat(Heartbeat {})
        } else {
            Event::Snapshot(Batch::clone(&self.batch))
        };
        let resume_token = self.token(self.batch.revision);
        let first = WatchBatchResponse { resume_token, event: Some(event), r#final: false };
        let said = BroadcastStream::new(self.says.subscribe()).map(|said| said.expect("not too much"));
        Ok(Response::new(stream::iter([Ok(first)]).chain(said).boxed()))
    }

    /// Three messages, then an error.
    async fn stream_results(
        &self,
        _: Request<StreamResultsRequest>,
    ) -> Result<Response<Self::StreamResultsStream>, Status> {
        let message = |n: u8| Ok(StreamResultsResponse { cursor: n.to_string(), ..Default::default() });
        let end = stream::iter([Err(no_such_batch("gone"))]);
        Ok(Response::new(stream::iter([1, 2, 3]).map(message).chain(end).boxed()))
    }

    async fn create_batch(&self, _: Request<CreateBatchRequest>) -> Result<Response<Batch>, Status> {
        std::future::pending().await
    }

    async fn list_batches(
        &self,
        _: Request<ListBatchesRequest>,
    ) -> Result<Response<ListBatchesResponse>, Status> {
        Ok(Response::new(Default::default()))
    }

    async fn cancel_batch(&self, _: Request<CancelBatchRequest>) -> Result<Response<Batch>, Status> {
        Ok(Response::new(Default::default()))
    }

    async fn pause_batch(&self, _: Request<PauseBatchRequest>) -> Result<Response<Batch>, Status> {
        Ok(Response::new(Default::default()))
    }

    async fn resume_batch(&self, _: Request<ResumeBatchRequest>) -> Result<Response<Batch>, Status> {
        Ok(Response::new(Default::default()))
    }

    async fn retry_batch(&self, _: Request<RetryBatchRequest>) -> Result<Response<Batch>, Status> {
        Ok(Response::new(Default::default()))
    }

    async fn delete_batch(&self, _: Request<DeleteBatchRequest>) -> Result<Response<()>, Status> {
        Ok(Response::new(()))
    }
}

#[tonic::async_trait]
impl FileService for Planner {
    type DownloadFileStream = BoxStream<'static, Result<DownloadFileResponse, Status>>;

    async fn upload_file(
        &self,
        request: Request<Streaming<UploadFileRequest>>,
    ) -> Result<Response<File>, Status> {
        self.metadata.send_replace(request.metadata().clone());
        let mut parts = request.into_inner();
        let mut count = 0;
        let end = loop {
            match parts.message().await {
                Ok(Some(_)) => {
                    count += 1;
                    self.upload.send_replace(Upload::Open(count));
                }
                Ok(None) => break Upload::Complete(count),
                Err(_) => break Upload::Broken,
            }
        };
        self.upload.send_replace(end);
        Ok(Response::new(File { name: "files/file_1".into(), ..Default::default() }))
    }

    async fn query_upload(
        &self,
        _: Request<QueryUploadRequest>,
    ) -> Result<Response<QueryUploadResponse>, Status> {
        Ok(Response::new(Default::default()))
    }

    async fn get_file(&self, _: Request<GetFileRequest>) -> Result<Response<File>, Status> {
        Ok(Response::new(Default::default()))
    }

    async fn list_files(&self, _: Request<ListFilesRequest>) -> Result<Response<ListFilesResponse>, Status> {
        Ok(Response::new(Default::default()))
    }

    async fn delete_file(&self, _: Request<DeleteFileRequest>) -> Result<Response<()>, Status> {
        Ok(Response::new(()))
    }

    async fn download_file(
        &self,
        _: Request<DownloadFileRequest>,
    ) -> Result<Response<Self::DownloadFileStream>, Status> {
        Ok(Response::new(stream::empty().boxed()))
    }
}
