//! Bodies of requests that were let in.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use http_body::Body;
use http_body_util::{BodyStream, StreamBody};

use super::Pace;

/// What a client uploads, read no faster than it may. Memory: what the last read of the connection gave.
pub(super) fn paced<B>(body: B, pace: Arc<Pace>) -> impl Body<Data = Bytes, Error = B::Error> + Send + 'static
where
    B: Body<Data = Bytes, Error: Send> + Send + 'static,
{
    StreamBody::new(BodyStream::new(body).then(move |frame| {
        let pace = Arc::clone(&pace);
        async move {
            if let Some(data) = frame.as_ref().ok().and_then(|frame| frame.data_ref()) {
                pace.wait(data.len()).await;
            }
            frame
        }
    }))
}
