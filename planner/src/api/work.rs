use std::sync::Arc;

use caravan_proto::v1::{self, work_service_server::WorkService};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::dispatch::Sessions;

/// `WorkService`.
pub struct Work {
    sessions: Arc<Sessions>,
}

// === impl Work ===

impl Work {
    /// Work handed out in `sessions`.
    #[must_use]
    pub fn new(sessions: Arc<Sessions>) -> Self {
        Self { sessions }
    }
}

#[tonic::async_trait]
impl WorkService for Work {
    type ConnectStream = ReceiverStream<Result<v1::ConnectResponse, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<v1::ConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        Ok(Response::new(self.sessions.connect(request.into_inner()).await?))
    }

    type FetchModelStream = ReceiverStream<Result<v1::FetchModelResponse, Status>>;

    async fn fetch_model(
        &self,
        _request: Request<v1::FetchModelRequest>,
    ) -> Result<Response<Self::FetchModelStream>, Status> {
        Err(Status::unimplemented("not yet"))
    }
}
