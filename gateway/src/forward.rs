//! The public services, each call forwarded to the planner's service of the same
//! name. A new RPC is one line here.

use caravan_proto::v1::{
    Batch, CancelBatchRequest, CreateBatchRequest, CreateKeyRequest, CreateKeyResponse, CreateProfileRequest,
    DeleteBatchRequest, DeleteFileRequest, DownloadFileRequest, DownloadFileResponse, EnsureModelRequest,
    EnsureModelResponse, File, GetBatchRequest, GetFileRequest, Key, ListBatchesRequest, ListBatchesResponse,
    ListExecutorsRequest, ListExecutorsResponse, ListFilesRequest, ListFilesResponse, ListKeysRequest,
    ListKeysResponse, ListModelsRequest, ListModelsResponse, ListProfilesRequest, ListProfilesResponse,
    ListUsageRequest, ListUsageResponse, PauseBatchRequest, Profile, QueryUploadRequest, QueryUploadResponse,
    ResumeBatchRequest, RetryBatchRequest, RevokeKeyRequest, StreamResultsRequest, StreamResultsResponse,
    UploadFileRequest, WatchBatchRequest, WatchFleetRequest, WatchFleetResponse,
    access_service_server::AccessService, batch_service_server::BatchService,
    file_service_server::FileService, fleet_service_server::FleetService,
};
use std::time::Duration;

use caravan_service::Shutdown;
use futures::{StreamExt as _, stream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    relay::{Relay, client_stream},
    resume::Opening,
    upstream::{Upstream, failure, inbound, outbound},
    watches::{Messages, Watches},
};

/// Implements the services; a cheap clone.
#[derive(Debug, Clone)]
pub(crate) struct Forward {
    planner: Upstream,
    watches: Watches,
    /// How long a planner is looked for with which a stream can go on.
    resume: Duration,
    shutdown: CancellationToken,
}

impl Forward {
    pub(crate) fn new(planner: Upstream, watches: Watches, resume: Duration, shutdown: &Shutdown) -> Self {
        Self { planner, watches, resume, shutdown: shutdown.token() }
    }
}

macro_rules! forward {
    ($service:ident, $client:ident {
        $(unary $unary:ident($ask:ty) -> $answer:ty;)*
        $(upload $upload:ident($part:ty) -> $whole:ty;)*
        $(watched $watched:ident($of:ty) as $watching:ident;)*
        $(resumed $resumed:ident($behind:ty) -> $next:ty as $resuming:ident;)*
        $(stream $stream:ident($from:ty) -> $item:ty as $name:ident;)*
    }) => {
        #[tonic::async_trait]
        impl $service for Forward {
            $(async fn $unary(&self, request: Request<$ask>) -> Result<Response<$answer>, Status> {
                self.planner.$client().$unary(outbound(request)).await.map(inbound).map_err(failure)
            })*

            $(async fn $upload(&self, request: Request<Streaming<$part>>) -> Result<Response<$whole>, Status> {
                let (metadata, extensions, mut incoming) = request.into_parts();
                // A client that sends nothing has no stream at the planner.
                let first = incoming.message().await?;
                let (outgoing, broken) = client_stream(incoming);
                let outgoing = stream::iter(first).chain(outgoing);
                let request = outbound(Request::from_parts(metadata, extensions, outgoing));
                let mut planner = self.planner.$client();
                tokio::select! {
                    answer = planner.$upload(request) => answer.map(inbound).map_err(failure),
                    status = broken => Err(status),
                }
            })*

            $(type $watching = Messages;

            async fn $watched(&self, request: Request<$of>) -> Result<Response<Messages>, Status> {
                self.watches.subscribe(outbound(request)).await.map(Response::new)
            })*

            $(type $resuming = Relay<$next>;

            async fn $resumed(&self, request: Request<$behind>) -> Result<Response<Relay<$next>>, Status> {
                let planner = self.planner.clone();
                let call = move |request| -> Opening<$next> {
                    let mut client = planner.$client();
                    Box::pin(async move { client.$resumed(request).await })
                };
                let (planners, shutdown) = (self.planner.planners().clone(), self.shutdown.clone());
                Relay::resumed(outbound(request), call, planners, self.resume, shutdown).await.map(inbound)
            })*

            $(type $name = Relay<$item>;

            async fn $stream(&self, request: Request<$from>) -> Result<Response<Relay<$item>>, Status> {
                let answer = self.planner.$client().$stream(outbound(request)).await.map_err(failure)?;
                Ok(inbound(answer).map(|stream| Relay::new(stream, self.shutdown.clone())))
            })*
        }
    };
}

forward! {
    FileService, files {
        unary query_upload(QueryUploadRequest) -> QueryUploadResponse;
        unary get_file(GetFileRequest) -> File;
        unary list_files(ListFilesRequest) -> ListFilesResponse;
        unary delete_file(DeleteFileRequest) -> ();
        upload upload_file(UploadFileRequest) -> File;
        resumed download_file(DownloadFileRequest) -> DownloadFileResponse as DownloadFileStream;
    }
}

forward! {
    BatchService, batches {
        unary create_batch(CreateBatchRequest) -> Batch;
        unary get_batch(GetBatchRequest) -> Batch;
        unary list_batches(ListBatchesRequest) -> ListBatchesResponse;
        unary cancel_batch(CancelBatchRequest) -> Batch;
        unary pause_batch(PauseBatchRequest) -> Batch;
        unary resume_batch(ResumeBatchRequest) -> Batch;
        unary retry_batch(RetryBatchRequest) -> Batch;
        unary delete_batch(DeleteBatchRequest) -> ();
        watched watch_batch(WatchBatchRequest) as WatchBatchStream;
        resumed stream_results(StreamResultsRequest) -> StreamResultsResponse as StreamResultsStream;
    }
}

forward! {
    FleetService, fleet {
        unary list_executors(ListExecutorsRequest) -> ListExecutorsResponse;
        unary list_models(ListModelsRequest) -> ListModelsResponse;
        unary list_profiles(ListProfilesRequest) -> ListProfilesResponse;
        unary create_profile(CreateProfileRequest) -> Profile;
        resumed watch_fleet(WatchFleetRequest) -> WatchFleetResponse as WatchFleetStream;
        stream ensure_model(EnsureModelRequest) -> EnsureModelResponse as EnsureModelStream;
    }
}

forward! {
    AccessService, access {
        unary create_key(CreateKeyRequest) -> CreateKeyResponse;
        unary list_keys(ListKeysRequest) -> ListKeysResponse;
        unary revoke_key(RevokeKeyRequest) -> Key;
        unary list_usage(ListUsageRequest) -> ListUsageResponse;
    }
}
