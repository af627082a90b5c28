//! Streams that go on with another planner: every message says where.

use std::pin::Pin;

use caravan_proto::v1::{
    DownloadFileRequest, DownloadFileResponse, StreamResultsRequest, StreamResultsResponse,
    WatchBatchRequest, WatchBatchResponse, WatchFleetRequest, WatchFleetResponse,
};
use tonic::{Request, Response, Status, Streaming};

/// A request for a stream that can be asked for again where it stood.
pub(crate) trait Resume<T>: Clone + Send + 'static {
    /// From now on it asks for what comes behind `message`.
    fn behind(&mut self, message: &T);
}

/// A call for a stream, under way.
pub(crate) type Opening<T> = Pin<Box<dyn Future<Output = Result<Response<Streaming<T>>, Status>> + Send>>;

/// Where a stream stands.
pub(crate) trait Standing<T>: Send {
    fn behind(&mut self, message: &T);
    /// Asks for the rest.
    fn open(&self) -> Opening<T>;
}

pub(crate) struct Place<Q, F> {
    request: Request<Q>,
    open: F,
}

// === impl Place ===

impl<Q, F> Place<Q, F> {
    pub(crate) fn new<T>(request: Request<Q>, open: F) -> Self
    where
        F: Fn(Request<Q>) -> Opening<T>,
    {
        Self { request, open }
    }
}

impl<T, Q, F> Standing<T> for Place<Q, F>
where
    Q: Resume<T>,
    F: Fn(Request<Q>) -> Opening<T> + Send,
{
    fn behind(&mut self, message: &T) {
        self.request.get_mut().behind(message);
    }

    fn open(&self) -> Opening<T> {
        (self.open)(copy(&self.request))
    }
}

/// The same request again, with its metadata.
pub(crate) fn copy<Q: Clone>(request: &Request<Q>) -> Request<Q> {
    let mut copy = Request::new(request.get_ref().clone());
    *copy.metadata_mut() = request.metadata().clone();
    copy
}

impl Resume<WatchBatchResponse> for WatchBatchRequest {
    fn behind(&mut self, message: &WatchBatchResponse) {
        self.resume_token.clone_from(&message.resume_token);
    }
}

impl Resume<StreamResultsResponse> for StreamResultsRequest {
    fn behind(&mut self, message: &StreamResultsResponse) {
        self.cursor.clone_from(&message.cursor);
    }
}

impl Resume<DownloadFileResponse> for DownloadFileRequest {
    fn behind(&mut self, message: &DownloadFileResponse) {
        let length = i64::try_from(message.data.len()).unwrap_or(i64::MAX);
        self.offset = message.offset.saturating_add(length);
    }
}

/// Each of its messages is the whole.
impl Resume<WatchFleetResponse> for WatchFleetRequest {
    fn behind(&mut self, _: &WatchFleetResponse) {}
}
