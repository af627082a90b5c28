//! Streams on their way through: one message at a time, none held, so that a slow
//! reader slows the writer down.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures::{Stream, StreamExt as _};
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{Status, Streaming};

use crate::upstream::{failure, leaving};

/// A server stream of the planner's. Ends when it ends, and at shutdown, as soon as it has
/// nothing to say, with UNAVAILABLE and RetryInfo.
pub(crate) struct Relay<T> {
    upstream: Option<Streaming<T>>,
    shutdown: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<T> Relay<T> {
    pub(crate) fn new(upstream: Streaming<T>, shutdown: CancellationToken) -> Self {
        Self { upstream: Some(upstream), shutdown: Box::pin(shutdown.cancelled_owned()) }
    }
}

impl<T> Stream for Relay<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(upstream) = self.upstream.as_mut() else { return Poll::Ready(None) };
        match upstream.poll_next_unpin(cx) {
            Poll::Ready(Some(Err(status))) => Poll::Ready(Some(Err(failure(status)))),
            Poll::Pending if self.shutdown.as_mut().poll(cx).is_ready() => {
                self.upstream = None;
                Poll::Ready(Some(Err(leaving())))
            }
            polled => polled,
        }
    }
}

/// A client stream, as what the planner gets and a future that resolves if the client's
/// side breaks. tonic's request streams can only end well; so on a break this one stays
/// open, and whoever awaits the future must drop the call, which resets it.
pub(crate) fn client_stream<T: Send + 'static>(
    incoming: Streaming<T>,
) -> (impl Stream<Item = T> + Send + 'static, impl Future<Output = Status> + Send) {
    let (told, broken) = oneshot::channel();
    let outgoing = futures::stream::unfold((incoming, told), |(mut incoming, told)| async move {
        match incoming.next().await {
            Some(Ok(message)) => Some((message, (incoming, told))),
            Some(Err(status)) => {
                // Nobody to tell: the call is over already.
                let _ = told.send(status);
                std::future::pending().await
            }
            None => None,
        }
    });
    let broken = async move {
        match broken.await {
            Ok(status) => status,
            Err(_) => std::future::pending().await,
        }
    };
    (outgoing, broken)
}
