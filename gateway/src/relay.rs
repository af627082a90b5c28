//! Streams on their way through: one message at a time, none held, so that a slow
//! reader slows the writer down.

use std::{
    error::Error as _,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use caravan_service::client::{Replica, Replicas};
use futures::{Stream, StreamExt as _};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{Code, Request, Response, Status, Streaming};

use crate::{
    resume::{Opening, Place, Resume, Standing},
    upstream::{failure, is_of_the_gateway, leaving},
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
    Open(Box<Streaming<T>>, Leaving),
    /// Lost, and asked for anew.
    Lost(Reopening<T>),
    Ended,
}

type Reopening<T> = Pin<Box<dyn Future<Output = Result<Upstream<T>, Status>> + Send>>;

/// Resolves once another planner is to be asked.
type Leaving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How a stream goes on when its planner is lost.
struct Resumption<T> {
    planners: Replicas,
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
        let upstream = Upstream::Open(Box::new(upstream), Box::pin(std::future::pending()));
        Self { upstream, resumption: None, shutdown }
    }

    /// Makes `call` with `request`, and again from where the stream stands when its planner is lost, or does not
    /// serve any more while another of `planners` does, if one is found within `limit`.
    pub(crate) async fn resumed<Q: Resume<T>>(
        request: Request<Q>,
        call: impl Fn(Request<Q>) -> Opening<T> + Send + 'static,
        planners: Replicas,
        limit: Duration,
        shutdown: CancellationToken,
    ) -> Result<Response<Self>, Status> {
        let place = Box::new(Place::new(request, call));
        let opened = place.open().await.map_err(failure)?;
        let metadata = opened.metadata().clone();
        let resumption = Resumption { planners, place, limit, pause: Duration::ZERO, since: None };
        let mut resumed = Response::new(Self {
            upstream: Upstream::open(opened, resumption.planners.clone()),
            resumption: Some(resumption),
            shutdown: Box::pin(shutdown.cancelled_owned()),
        });
        *resumed.metadata_mut() = metadata;
        Ok(resumed)
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
                Upstream::Open(stream, leaving) => match stream.poll_next_unpin(cx) {
                    Poll::Ready(Some(Err(status))) => Err(status),
                    Poll::Ready(Some(Ok(message))) => {
                        if let Some(resumption) = &mut self.resumption {
                            resumption.behind(&message);
                        }
                        return Poll::Ready(Some(Ok(message)));
                    }
                    Poll::Pending if leaving.as_mut().poll(cx).is_ready() => {
                        Err(Status::unavailable("the planner does not serve"))
                    }
                    polled => return polled,
                },
                Upstream::Lost(opening) => match opening.as_mut().poll(cx) {
                    Poll::Ready(opened) => opened,
                    Poll::Pending => return Poll::Pending,
                },
            };
            match ended {
                Ok(opened) => self.upstream = opened,
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

// === impl Upstream ===

impl<T> Upstream<T> {
    fn open(opened: Response<Streaming<T>>, planners: Replicas) -> Self {
        let planner = opened.extensions().get::<Replica>().cloned();
        let leaving: Leaving = match planner {
            Some(planner) => Box::pin(async move { planners.better_than(&planner).await }),
            None => Box::pin(std::future::pending()),
        };
        Self::Open(Box::new(opened.into_inner()), leaving)
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
    fn next(&mut self) -> Option<Reopening<T>> {
        let now = Instant::now();
        if self.since.is_none() {
            tracing::info!("a stream lost its planner and goes on with another");
        }
        let deadline = *self.since.get_or_insert(now) + self.limit;
        if now >= deadline {
            return None;
        }
        let (pause, opening, planners) = (self.pause, self.place.open(), self.planners.clone());
        self.pause = (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        Some(Box::pin(async move {
            let opened = async {
                sleep(pause).await;
                opening.await
            };
            let late = || Status::unavailable("no planner was found to go on with");
            let opened = timeout_at(deadline, opened).await.unwrap_or_else(|_| Err(late()))?;
            Ok(Upstream::open(opened, planners))
        }))
    }
}

/// Whether the planner, or the way to it, is what failed.
fn is_lost(status: &Status) -> bool {
    status.code() == Code::Unavailable || is_of_the_gateway(status) || status.source().is_some()
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
