//! The body of a request in which a reset is an error, and silence has a reason. tonic takes a client's
//! CANCEL for the end of its stream, so that half an upload would look like a whole one.

use std::{
    error::Error,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use caravan_proto::error::Reason;
use http_body::{Frame, SizeHint};
use tonic::{Code, Status, body::Body};

use crate::connection::Silent;

pub(super) struct Inbound(pub(super) Body);

impl http_body::Body for Inbound {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.0).poll_frame(cx).map_err(named)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

fn named(status: Status) -> Status {
    if status.code() == Code::Cancelled {
        return Status::aborted("the client reset its stream");
    }
    match status.source().and_then(<dyn Error>::downcast_ref::<Silent>) {
        Some(silent) => {
            Reason::StreamSilent.status(format!("{silent}; an upload can be resumed where it stands"))
        }
        None => status,
    }
}
