//! Streams on their way through: one message at a time, none held, so that a slow
//! reader slows the writer down.

use std::{
    error::Error as _,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::{Stream, StreamExt as _};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{Code, Status, Streaming};

use crate::{
    resume::{Opening, Standing},
    upstream::{failure, leaving},
};

/// First pause between two tries to go on; doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// A planner that is back is found within this time.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// A server stream of a planner's. Ends when it ends, and at shutdown, as soon as it has
/// nothing to say, with UNAVAILABLE and RetryInfo.
pub(crate) struct Relay<T> {
    upstream: Upstream<T>,
    resumption: Option<Resumption<T>>,
    shutdown: Pin<Box<WaitForCancellationFutureOwned>>,
}

enum Upstream<T> {
    Open(Box<Streaming<T>>),
    /// Lost, and asked for anew.
    Lost(Opening<T>),
    Ended,
}

/// How a stream goes on when its planner is lost.
struct Resumption<T> {
    place: Box<dyn Standing<T>>,
    /// How long another planner is looked for.
    limit: Duration,
    pause: Duration,
    /// Since when there was no message, if it was lost.
    since: Option<Instant>,
}

// === impl Relay ===

impl<T: 'static> Relay<T> {
    pub(crate) fn new(upstream: Streaming<T>, shutdown: CancellationToken) -> Self {
        let shutdown = Box::pin(shutdown.cancelled_owned());
        Self { upstream: Upstream::Open(Box::new(upstream)), resumption: None, shutdown }
    }

    /// The same, which goes on from `place` when its planner is lost, if another is found within `limit`.
    pub(crate) fn resumed(self, place: impl Standing<T> + 'static, limit: Duration) -> Self {
        let place = Box::new(place);
        Self { resumption: Some(Resumption { place, limit, pause: Duration::ZERO, since: None }), ..self }
    }

    /// Goes on elsewhere behind an end with `status`, or ends with it.
    fn broken(&mut self, status: Status) -> Result<(), Status> {
        let next = self.resumption.as_mut().filter(|_| is_lost(&status)).and_then(Resumption::next);
        match next {
            Some(opening) => self.upstream = Upstream::Lost(opening),
            None => {
                self.upstream = Upstream::Ended;
                return Err(failure(status));
            }
        }
        Ok(())
    }

    fn poll_upstream(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, Status>>> {
        loop {
            let ended = match &mut self.upstream {
                Upstream::Ended => return Poll::Ready(None),
                Upstream::Open(stream) => match stream.poll_next_unpin(cx) {
                    Poll::Ready(Some(Err(status))) => Err(status),
                    Poll::Ready(Some(Ok(message))) => {
                        if let Some(resumption) = &mut self.resumption {
                            resumption.behind(&message);
                        }
                        return Poll::Ready(Some(Ok(message)));
                    }
                    polled => return polled,
                },
                Upstream::Lost(opening) => match opening.as_mut().poll(cx) {
                    Poll::Ready(opened) => opened,
                    Poll::Pending => return Poll::Pending,
                },
            };
            match ended {
                Ok(stream) => self.upstream = Upstream::Open(Box::new(stream)),
                Err(status) => {
                    if let Err(status) = self.broken(status) {
                        return Poll::Ready(Some(Err(status)));
                    }
                }
            }
        }
    }
}

impl<T: 'static> Stream for Relay<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.poll_upstream(cx) {
            Poll::Pending if self.shutdown.as_mut().poll(cx).is_ready() => {
                self.upstream = Upstream::Ended;
                Poll::Ready(Some(Err(leaving())))
            }
            polled => polled,
        }
    }
}

// === impl Resumption ===

impl<T: 'static> Resumption<T> {
    /// It came as far as this.
    fn behind(&mut self, message: &T) {
        self.place.behind(message);
        (self.pause, self.since) = (Duration::ZERO, None);
    }

    /// Another try; none once the limit has passed.
    fn next(&mut self) -> Option<Opening<T>> {
        let now = Instant::now();
        if self.since.is_none() {
            tracing::info!("a stream lost its planner and goes on with another");
        }
        let deadline = *self.since.get_or_insert(now) + self.limit;
        if now >= deadline {
            return None;
        }
        let (pause, opening) = (self.pause, self.place.open());
        self.pause = (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        Some(Box::pin(async move {
            let opened = async {
                sleep(pause).await;
                opening.await
            };
            let late = || Status::unavailable("no planner was found to go on with");
            timeout_at(deadline, opened).await.unwrap_or_else(|_| Err(late()))
        }))
    }
}

/// Whether the planner, or the way to it, is what failed.
fn is_lost(status: &Status) -> bool {
    status.code() == Code::Unavailable || status.source().is_some()
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
