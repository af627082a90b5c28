use std::sync::Arc;

use caravan_proto::{
    error::Reason,
    v1::{self, work_service_server::WorkService},
};
use futures::{StreamExt as _, stream, stream::BoxStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{
    files::{failed, pieces},
    models::model_file,
};
use crate::{dispatch::Sessions, files::Reader, objects::Objects, store::Store};

/// `WorkService`.
pub struct Work {
    sessions: Arc<Sessions>,
    store: Arc<dyn Store>,
    objects: Objects,
}

// === impl Work ===

impl Work {
    /// Work handed out in `sessions`, and the files of models in `store` and `objects`.
    #[must_use]
    pub fn new(sessions: Arc<Sessions>, store: Arc<dyn Store>, objects: Objects) -> Self {
        Self { sessions, store, objects }
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

    type FetchModelStream = BoxStream<'static, Result<v1::FetchModelResponse, Status>>;

    async fn fetch_model(
        &self,
        request: Request<v1::FetchModelRequest>,
    ) -> Result<Response<Self::FetchModelStream>, Status> {
        let v1::FetchModelRequest { file, offset } = request.into_inner();
        let file = model_file(&*self.store, None, "file", &file).await?;
        if !(0..=file.size).contains(&offset) {
            let message = format!("offset must be 0 to {}", file.size);
            return Err(Reason::InvalidOffset.field("offset", message));
        }
        // Read as the executor takes it: a block at a time, whatever the size of the file.
        let blocks = Reader::new(self.objects.clone(), &file).stream(offset.unsigned_abs());
        let pieces = blocks.flat_map(|block| stream::iter(pieces(block)));
        let messages = pieces.map(|piece| Ok(v1::FetchModelResponse { data: piece.map_err(failed)? }));
        Ok(Response::new(messages.boxed()))
    }
}
