//! Bodies of calls that may have to be made again elsewhere, or given up.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::Frame;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::body::Body;

/// The server that a call went to has fallen silent.
#[derive(Debug, thiserror::Error)]
#[error("the server fell silent")]
pub(super) struct Silent;

/// The body of a request, lent to a connection. As long as nothing was read of it nothing was sent, and
/// it can be taken back.
#[derive(Clone)]
pub(super) struct Lender {
    body: Arc<Mutex<Option<Body>>>,
}

/// What the connection gets.
struct Lent {
    lender: Lender,
    reading: Option<Body>,
}

// === impl Lender ===

impl Lender {
    pub(super) fn new(body: Body) -> Self {
        Self { body: Arc::new(Mutex::new(Some(body))) }
    }

    pub(super) fn lend(&self) -> Body {
        Body::new(Lent { lender: self.clone(), reading: None })
    }

    /// Whether nothing was read yet.
    pub(super) fn is_untouched(&self) -> bool {
        self.body.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn take(&self) -> Option<Body> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

// === impl Lent ===

impl http_body::Body for Lent {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        if self.reading.is_none() {
            self.reading = self.lender.take();
        }
        match &mut self.reading {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }
}

/// The body of an answer, which ends with an error once its server is given up.
pub(super) struct Bound {
    inner: Body,
    given_up: Pin<Box<WaitForCancellationFutureOwned>>,
}

// === impl Bound ===

impl Bound {
    pub(super) fn new(inner: Body, given_up: WaitForCancellationFutureOwned) -> Self {
        Self { inner, given_up: Box::pin(given_up) }
    }
}

impl http_body::Body for Bound {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Pending if self.given_up.as_mut().poll(cx).is_ready() => Poll::Ready(Some(Err(silent()))),
            polled => polled,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}

fn silent() -> tonic::Status {
    let mut status = tonic::Status::unavailable(Silent.to_string());
    status.set_source(Arc::new(Silent));
    status
}
