//! Bodies of calls that were let in.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::StreamExt as _;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyStream, StreamBody};
use tokio::sync::OwnedSemaphorePermit;

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

/// An answer that has its place among the streams of its tenant until it is gone.
pub(super) struct Held<B> {
    pub(super) body: B,
    pub(super) _place: OwnedSemaphorePermit,
}

impl<B: Body + Unpin> Body for Held<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
