//! One server of several: its connection, and whether it serves.

use std::{
    error::Error as _,
    fmt,
    sync::{Arc, LazyLock},
    time::Duration,
};

use opentelemetry::{KeyValue, metrics::Counter};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};

use super::{Options, dial::Dialer};
use crate::metrics::Metric;

/// Changes of servers' states.
const CHANGED: Metric = Metric::new(
    "caravan.client.server_state",
    "{change}",
    "Changes of a server's state, by server and state.",
);

static CHANGES: LazyLock<Counter<u64>> = LazyLock::new(|| CHANGED.counter());

/// What is known of a server; the better one is less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It says that it serves.
    Serving,
    /// It was not heard yet.
    Unknown,
    /// It answers, and says that it does not serve: it goes away, or its database is not there.
    NotServing,
    /// It does not answer.
    Down,
}

/// One life of a connection.
#[derive(Debug, Clone)]
pub(super) struct Life {
    pub(super) state: State,
    pub(super) channel: Channel,
    /// Cancelled when the server is given up: calls on this connection have no answer to wait for.
    pub(super) given_up: CancellationToken,
    /// Why the one before was given up.
    failure: Option<Arc<str>>,
}

/// A server. Cheap to clone.
#[derive(Clone)]
pub struct Replica {
    url: Arc<str>,
    life: watch::Sender<Life>,
    /// Told of every change.
    changes: watch::Sender<()>,
}

/// Keeps the state of a server up to date.
pub(super) struct Watcher {
    replica: Replica,
    dialer: Dialer,
    interval: Duration,
    timeout: Duration,
}

// === impl Replica ===

impl Replica {
    pub(super) fn new(url: &str, dialer: &Dialer, changes: watch::Sender<()>) -> Self {
        let channel = dialer.channel();
        let life = Life { state: State::Unknown, channel, given_up: CancellationToken::new(), failure: None };
        Self { url: url.trim_end_matches('/').into(), life: watch::Sender::new(life), changes }
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What is known of it.
    #[must_use]
    pub fn state(&self) -> State {
        self.life.borrow().state
    }

    /// Why it was given up the last time, in words; none if it never was.
    #[must_use]
    pub fn failure(&self) -> Option<Arc<str>> {
        self.life.borrow().failure.clone()
    }

    pub(super) fn life(&self) -> Life {
        self.life.borrow().clone()
    }

    fn set(&self, state: State) {
        let changed = self.life.send_if_modified(|life| {
            let changed = life.state != state;
            life.state = state;
            changed
        });
        if changed {
            self.tell(state);
        }
    }

    /// Nothing can be had of it: calls under way end, and the next connection is a new one.
    fn give_up(&self, dialer: &Dialer, status: &Status) {
        let before = self.state();
        let fresh = Life {
            state: State::Down,
            channel: dialer.channel(),
            given_up: CancellationToken::new(),
            failure: Some(cause(status).into()),
        };
        self.life.send_replace(fresh).given_up.cancel();
        if before != State::Down {
            self.tell(State::Down);
        }
    }

    fn tell(&self, state: State) {
        let url = &*self.url;
        match state {
            State::Serving => tracing::info!(server = url, "server serves"),
            State::Unknown => {}
            State::NotServing => tracing::warn!(server = url, "server does not serve"),
            State::Down => {
                tracing::warn!(server = url, why = self.failure().as_deref(), "server does not answer");
            }
        }
        let labels = [KeyValue::new("server", url.to_owned()), KeyValue::new("state", format!("{state:?}"))];
        CHANGES.add(1, &labels);
        self.changes.send_replace(());
    }
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica")
            .field("url", &self.url)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

// === impl Watcher ===

impl Watcher {
    pub(super) fn new(replica: Replica, dialer: Dialer, options: &Options) -> Self {
        Self { replica, dialer, interval: options.health(), timeout: options.health_timeout() }
    }

    /// Watches for ever: drop it to end it.
    pub(super) async fn run(self) {
        loop {
            if let Err(status) = self.connection().await {
                self.replica.give_up(&self.dialer, &status);
            }
            tokio::time::sleep(self.interval).await;
        }
    }

    /// Watches over one connection, until it does not answer any more. The server's own word comes at
    /// once by a stream; that it still answers at all is asked at intervals, since a connection to a
    /// host that is gone looks like one on which nothing happens.
    async fn connection(&self) -> Result<(), Status> {
        let mut health = HealthClient::new(self.replica.life().channel);
        self.take(self.bounded(health.check(HealthCheckRequest::default())).await)?;
        let mut told = match self.bounded(health.watch(HealthCheckRequest::default())).await {
            Ok(told) => Some(told),
            Err(status) if status.code() == Code::Unimplemented => None,
            Err(status) => return Err(status),
        };
        let mut asked = interval(self.interval);
        asked.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = async {
                    match &mut told {
                        Some(told) => told.message().await,
                        None => std::future::pending().await,
                    }
                } => {
                    let message = message?.ok_or_else(|| Status::unavailable("the watch of its health ended"))?;
                    self.take(Ok(message))?;
                    // A server that goes away waits for its streams to end.
                    if self.replica.state() == State::NotServing {
                        told = None;
                    }
                }
                _ = asked.tick() => {
                    self.take(self.bounded(health.check(HealthCheckRequest::default())).await)?;
                    if told.is_none() && self.replica.state() == State::Serving {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn bounded<T>(
        &self,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, Status> {
        match timeout(self.timeout, call).await {
            Ok(answer) => answer.map(tonic::Response::into_inner),
            Err(_) => Err(Status::unavailable("no answer in time")),
        }
    }

    fn take(&self, answer: Result<HealthCheckResponse, Status>) -> Result<(), Status> {
        let state = match answer {
            Ok(answer) if answer.status() == ServingStatus::Serving => State::Serving,
            Ok(_) => State::NotServing,
            // It answers, and tells nothing of its health.
            Err(status) if status.code() == Code::Unimplemented => State::Serving,
            Err(status) => return Err(status),
        };
        self.replica.set(state);
        Ok(())
    }
}

/// The first of the causes: the others say no more than that there was an error.
fn cause(status: &Status) -> String {
    let chain = std::iter::successors(status.source(), |&error| error.source());
    chain.last().map_or_else(|| status.message().to_owned(), ToString::to_string)
}
