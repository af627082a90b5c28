//! The body of a request: one that is waited for too long ends with an error.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

/// The client sent nothing for longer than it may.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("nothing was sent for {} s in the middle of a call", .0.as_secs())]
pub struct Silent(pub Duration);

/// What the client sends. Its error is [`Silent`] if it sends nothing for too long while it is waited for.
#[derive(Debug)]
pub struct Inbound {
    body: Incoming,
    limit: Duration,
    /// Runs while the client is waited for.
    silence: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

// === impl Inbound ===

impl Inbound {
    pub(super) fn new(body: Incoming, limit: Duration) -> Self {
        Self { body, limit, silence: None, waiting: false }
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let silence = self.silence.get_or_insert_with(|| Box::pin(sleep(limit)));
        if !self.waiting {
            self.waiting = true;
            silence.as_mut().reset(Instant::now() + limit);
        }
        silence.as_mut().poll(cx)
    }
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.waiting = false;
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => self.poll_silence(cx).map(|()| Some(Err(Silent(self.limit).into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
