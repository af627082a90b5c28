//! The body of an answer under supervision: it ends at the call's deadline and at the
//! server's drain limit with a status of its own, a panic in it is caught, and the way
//! it ended is known.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tonic::{Code, Status, body::Body};

use super::call::{self, Record};
use crate::trailers::trailers;

/// Waits for what must end a call early; gives the status to end it with.
pub(super) type Cut = Pin<Box<dyn Future<Output = Status> + Send>>;

pub(super) struct Supervised {
    inner: Body,
    cut: Cut,
    record: Record,
    ended: bool,
}

impl Supervised {
    pub(super) fn new(inner: Body, cut: Cut, record: Record) -> Self {
        Self { inner, cut, record, ended: false }
    }

    fn end(&mut self, status: &Status) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.ended = true;
        self.record.ended(status.code());
        Poll::Ready(Some(trailers(status)))
    }
}

impl http_body::Body for Supervised {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        if let Poll::Ready(status) = this.cut.as_mut().poll(cx) {
            return this.end(&status);
        }
        let span = this.record.span().clone();
        let _entered = span.enter();
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut this.inner).poll_frame(cx)));
        let Ok(polled) = polled else { return this.end(&call::panicked()) };
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    this.record.ended(call::code(trailers).unwrap_or(Code::Ok));
                }
            }
            Poll::Ready(Some(Err(status))) => this.record.ended(status.code()),
            Poll::Ready(None) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // A cut may make it shorter or longer.
        SizeHint::default()
    }
}
