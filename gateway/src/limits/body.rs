//! Bodies of calls that were let in.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use http_body::Body;
use http_body_util::{BodyExt as _, BodyStream, StreamBody};
use tokio::sync::OwnedSemaphorePermit;

use super::Rate;

/// What a client uploads, read no faster than it may. Memory: what the last read of the connection gave.
pub(super) fn paced<B>(body: B, rate: Arc<Rate>) -> impl Body<Data = Bytes, Error = B::Error> + Send + 'static
where
    B: Body<Data = Bytes, Error: Send> + Send + 'static,
{
    StreamBody::new(BodyStream::new(body).then(move |frame| {
        let rate = Arc::clone(&rate);
        async move {
            if let Some(data) = frame.as_ref().ok().and_then(|frame| frame.data_ref()) {
                rate.wait(data.len()).await;
            }
            frame
        }
    }))
}

/// An answer that has its place among the streams of its tenant until it has ended.
pub(super) fn held<B>(
    body: B,
    place: OwnedSemaphorePermit,
) -> impl Body<Data = Bytes, Error = B::Error> + Send + 'static
where
    B: Body<Data = Bytes> + Send + 'static,
{
    body.map_frame(move |frame| {
        let _held = &place;
        frame
    })
}
