use std::{pin::pin, sync::Arc};

use caravan_proto::{
    error::Reason,
    name::{ExecutorId, LeaseId},
    v1::{self, connect_request::Message as FromExecutor, connect_response::Message as ToExecutor},
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Status, Streaming};
use tracing::Instrument as _;

use super::{
    Errands, Fleet, Options, Outgoing,
    delivery::{self, Queue},
};
use crate::{
    clock,
    profiles::{self, Refusal},
    results::Gatherer,
    signals::Signals,
    store::{self, Held, Micros, Store},
    vocabularies::Vocabularies,
};

/// Messages under way to one executor: leases, acks and replies.
const OUTGOING: usize = 64;

/// Serves the executors that dial in.
pub struct Sessions {
    options: Options,
    store: Arc<dyn Store>,
    fleet: Fleet,
    gatherer: Arc<Gatherer>,
    vocabularies: Vocabularies,
    errands: Errands,
    signals: Signals,
    tasks: TaskTracker,
    stop: CancellationToken,
}

struct Session {
    id: ExecutorId,
    outgoing: Outgoing,
    shared: Arc<Sessions>,
}

/// Why a session ends early.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the executor sent `{field}` = `{value}`, which is no name")]
    Name { field: &'static str, value: String },
    #[error("the executor said hello twice")]
    Hello,
}

// === impl Sessions ===

impl Sessions {
    /// Sessions for executors; `fleet` knows those that are connected, `vocabularies` takes what they
    /// send of models, `errands` how far they are with them.
    #[must_use]
    pub fn new(
        options: Options,
        store: Arc<dyn Store>,
        fleet: Fleet,
        gatherer: Arc<Gatherer>,
        vocabularies: Vocabularies,
        errands: Errands,
        signals: Signals,
    ) -> Self {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        Self { options, store, fleet, gatherer, vocabularies, errands, signals, tasks, stop }
    }

    /// Takes an executor in: reads its hello, answers, and serves it until one side ends.
    ///
    /// # Errors
    /// If it does not begin with a good hello, or the planner stops.
    pub async fn connect(
        self: &Arc<Self>,
        mut incoming: Streaming<v1::ConnectRequest>,
    ) -> Result<ReceiverStream<Result<v1::ConnectResponse, Status>>, Status> {
        let hello = match incoming.message().await?.and_then(|first| first.message) {
            Some(FromExecutor::Hello(hello)) => hello,
            _ => return Err(Reason::InvalidArgument.field("message", "the first message must be hello")),
        };
        let id: ExecutorId = hello
            .executor
            .parse()
            .map_err(|error| Reason::InvalidArgument.field("hello.executor", format!("{error}")))?;
        let (sender, receiver) = mpsc::channel(OUTGOING);
        let broken = self.stop.child_token();
        let outgoing = Outgoing::new(sender, broken.clone());
        let session = Session { id, outgoing, shared: Arc::clone(self) };
        session.welcome(hello).await;
        let span = tracing::info_span!("session", executor = %id);
        self.tasks.spawn(session.run(incoming, broken).instrument(span));
        Ok(ReceiverStream::new(receiver))
    }

    /// Sends every executor to another replica and ends.
    pub async fn stop(&self) {
        let retry_after = Some(prost_types::Duration { seconds: 1, nanos: 0 });
        self.fleet.dismiss(&v1::Drain { retry_after }).await;
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

// === impl Session ===

impl Session {
    async fn welcome(&self, hello: v1::Hello) {
        let shared = &self.shared;
        let detail = v1::Executor {
            name: self.id.name(),
            host: hello.host,
            version: hello.version,
            state: v1::executor::State::Online.into(),
            engines: hello.engines,
            ..Default::default()
        };
        if let Some(now) = self.soon(shared.store.now()).await {
            self.remember(detail.clone(), now).await;
        }
        for profile in hello.profiles {
            self.keep(profile).await;
        }
        tracing::info!(executor = %self.id, host = detail.host, engines = detail.engines.len(), "executor connected");
        shared.fleet.join(self.id, self.outgoing.clone(), detail);
        let welcome = v1::Welcome {
            lease_ttl: prost_types::Duration::try_from(shared.options.ttl()).ok(),
            heartbeat_interval: prost_types::Duration::try_from(shared.options.heartbeat()).ok(),
        };
        self.outgoing.send(ToExecutor::Welcome(welcome)).await;
        shared.signals.upkeep();
    }

    /// Serves the executor until one side ends. What it sends to be kept is kept beside its signs of
    /// life: these go on while database or object store cannot be reached.
    async fn run(self, incoming: Streaming<v1::ConnectRequest>, broken: CancellationToken) {
        let shared = &self.shared;
        let (queue, queued) = delivery::queue(shared.gatherer.waiting_bytes());
        let keeping = queued.keep(self.id, &shared.store, &shared.gatherer, &shared.signals);
        let mut keeping = pin!(keeping);
        tokio::select! {
            // It waits for the other one.
            () = &mut keeping => {}
            () = self.read(incoming, queue, &broken) => {}
        }
        shared.fleet.leave(self.id, &self.outgoing);
        shared.errands.over(&self.outgoing);
        tracing::info!("executor disconnected");
        // What came is kept if that is to be done soon; else it comes again.
        tokio::select! {
            _done_or_late = timeout(shared.options.ttl(), keeping) => {}
            () = shared.stop.cancelled() => {}
        }
    }

    async fn read(
        &self,
        mut incoming: Streaming<v1::ConnectRequest>,
        queue: Queue,
        broken: &CancellationToken,
    ) {
        loop {
            let message = tokio::select! {
                biased;
                () = broken.cancelled() => return,
                message = incoming.message() => message,
                () = self.outgoing.closed() => return,
            };
            let message = match message {
                Ok(Some(message)) => message.message,
                Ok(None) => return,
                Err(status) => {
                    tracing::info!(code = ?status.code(), message = status.message(), "executor lost");
                    return;
                }
            };
            let Some(message) = message else { continue };
            let taken = tokio::select! {
                taken = self.take(message, &queue) => taken,
                () = broken.cancelled() => return,
            };
            if let Err(error) = taken {
                tracing::error!(error = &error as &dyn std::error::Error, "session ends");
                self.outgoing.close(Reason::InvalidArgument.status(error.to_string()));
                return;
            }
        }
    }

    async fn take(&self, message: FromExecutor, queue: &Queue) -> Result<(), Error> {
        let shared = &self.shared;
        match message {
            FromExecutor::Hello(_) => return Err(Error::Hello),
            FromExecutor::Credits(credits) => {
                shared.fleet.credit(self.id, &self.outgoing, credits.credits);
                shared.signals.work();
            }
            FromExecutor::Heartbeat(heartbeat) => self.heartbeat(heartbeat).await?,
            FromExecutor::Results(results) => queue.results(results, &self.outgoing).await?,
            FromExecutor::HandBack(back) => {
                tracing::info!(leases = back.leases.len(), reason = back.reason, "handed back");
                queue.hand_back(held(&back.leases)?);
            }
            FromExecutor::Draining(_) => shared.fleet.drain(self.id, &self.outgoing),
            // Only of a model that it has: what is kept is bounded by what the fleet has.
            FromExecutor::Vocabulary(vocabulary) => {
                if shared.fleet.has_vocabulary(self.id, &vocabulary.vocabulary) {
                    shared.vocabularies.arrived(vocabulary).await;
                }
            }
            FromExecutor::Profile(profile) => self.keep(profile).await,
            FromExecutor::ModelProgress(progress) => {
                shared.errands.progress(&self.outgoing, progress).await;
            }
        }
        Ok(())
    }

    async fn heartbeat(&self, heartbeat: v1::WorkHeartbeat) -> Result<(), Error> {
        let shared = &self.shared;
        let leases = held(&heartbeat.leases)?;
        let batches = heartbeat.leases.iter().map(|status| status.batch.parse().ok());
        let of_batches = leases.iter().map(|held| held.lease).zip(batches).collect();
        shared.fleet.holds(self.id, &self.outgoing, &of_batches);
        let renewed = async {
            let now = shared.store.now().await?;
            let lost = shared.store.heartbeat(self.id, &leases, shared.options.deadline(now)).await?;
            Ok((now, lost))
        };
        let renewed = self.soon(renewed).await;
        if renewed.is_none() {
            // No lease is lost because it could not be looked up: none expires either while that is so.
            shared.fleet.unrenewed();
        }
        let (now, lost) = renewed.map_or((None, Vec::new()), |(now, lost)| (Some(now), lost));
        let reply = v1::HeartbeatReply { lost: lost.iter().map(LeaseId::to_string).collect() };
        self.outgoing.send(ToExecutor::HeartbeatReply(reply)).await;
        let detail = shared.fleet.update(self.id, &self.outgoing, |detail| {
            detail.engines = heartbeat.engines;
            detail.gpus = heartbeat.gpus;
            detail.gpu_unavailable = heartbeat.gpu_unavailable;
        });
        if let (Some(detail), Some(now)) = (detail, now) {
            self.remember(detail, now).await;
        }
        Ok(())
    }

    /// What a call of the store gives, if it does so before the next sign of life is due. That it fails is told by
    /// the upkeep, once for all sessions.
    async fn soon<T>(&self, call: impl Future<Output = Result<T, store::Error>>) -> Option<T> {
        match timeout(self.shared.options.heartbeat() / 2, call).await {
            Ok(Ok(given)) => Some(given),
            Ok(Err(error)) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "the store failed a session");
                None
            }
            Err(_) => None,
        }
    }

    /// Keeps what was measured; what cannot be used or is known better is passed over.
    async fn keep(&self, profile: v1::Profile) {
        let model = profile.model.clone();
        match profiles::keep(&*self.shared.store, profile).await {
            Ok(kept) => tracing::info!(model, profile = kept.name, "profile kept"),
            // It comes again with the next greeting.
            Err(Refusal::Store(error)) => {
                tracing::warn!(model, error = &error as &dyn std::error::Error, "a profile is not kept");
            }
            Err(Refusal::Older) => tracing::debug!(model, "an older profile is passed over"),
            Err(Refusal::Wrong(wrong)) => {
                tracing::warn!(model, error = &wrong as &dyn std::error::Error, "a profile cannot be used");
            }
        }
    }

    async fn remember(&self, mut detail: v1::Executor, last_seen: Micros) {
        detail.last_seen = Some(clock::timestamp(last_seen));
        let seen = store::Executor { id: self.id, detail, last_seen };
        self.soon(self.shared.store.put_executor(&seen)).await;
    }
}

fn held(leases: &[v1::LeaseStatus]) -> Result<Vec<Held>, Error> {
    let each = leases.iter().map(|status| {
        let lease = name("lease_id", &status.lease_id)?;
        Ok(Held { lease, epoch: status.epoch, started: status.started })
    });
    each.collect()
}

pub(super) fn name<T: std::str::FromStr>(field: &'static str, value: &str) -> Result<T, Error> {
    value.parse().map_err(|_| Error::Name { field, value: value.chars().take(64).collect() })
}
