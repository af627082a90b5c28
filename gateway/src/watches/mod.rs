//! Watches of batches: however many subscribers a batch has here, the planner has one watch of it. Each
//! subscriber is let in by the planner, in its own name; then all read the same latest state.

mod latest;
mod subscriber;
mod upstream;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use caravan_proto::{
    error::Reason,
    name::BatchId,
    resume::ResumeToken,
    v1::{WatchBatchRequest, WatchBatchResponse},
};
use futures::{StreamExt as _, stream::BoxStream};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

use self::{latest::Latest, subscriber::Subscriber};
use crate::{
    relay::Relay,
    resume::{Opening, copy},
    upstream::Upstream,
};

/// What a subscriber gets.
pub(crate) type Messages = BoxStream<'static, Result<WatchBatchResponse, Status>>;

/// The tenant whose name the gateway has put into a request.
const TENANT: &str = "caravan-tenant";
/// What of a subscriber's call is its own, and ends with it.
const OF_THE_CALL: [&str; 3] = ["grpc-timeout", "traceparent", "tracestate"];

/// All watches of this gateway; a cheap clone. Memory: the latest state of each batch that is watched, and of
/// a subscriber where it stands.
#[derive(Clone)]
pub(crate) struct Watches {
    planner: Upstream,
    /// How long a planner is looked for with which a watch can go on.
    resume: Duration,
    open: Arc<Mutex<HashMap<Key, watch::Sender<Latest>>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// One batch as one tenant sees it: what a tenant may not see, it cannot come upon here either.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    tenant: Option<Vec<u8>>,
    batch: BatchId,
}

// === impl Watches ===

impl Watches {
    /// None yet. `tasks` follow the planners' watches, until `stop` or until nobody watches.
    pub(crate) fn new(
        planner: Upstream,
        resume: Duration,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self { planner, resume, open: Arc::default(), tasks, stop }
    }

    /// Lets a subscriber in, if the planner does. `request` is as the planner gets it.
    pub(crate) async fn subscribe(&self, request: Request<WatchBatchRequest>) -> Result<Messages, Status> {
        // The first message is the planner's own, which has looked at the name, the token and the caller.
        let first = self.watch(&request).await?.next().await;
        let first = first.ok_or_else(|| no_sense("a watch without a message"))??;
        let place: ResumeToken =
            first.resume_token.parse().map_err(|_| no_sense("a token of another form"))?;
        let latest = (!first.r#final).then(|| self.latest(&request, place.batch));
        Ok(Subscriber::new(first, place.revision, latest).messages())
    }

    /// A watch of the planner's, which goes on with another planner.
    async fn watch(&self, request: &Request<WatchBatchRequest>) -> Result<Relay<WatchBatchResponse>, Status> {
        let planner = self.planner.clone();
        let call = move |request| -> Opening<WatchBatchResponse> {
            let mut client = planner.batches();
            Box::pin(async move { client.watch_batch(request).await })
        };
        let (planners, stop) = (self.planner.planners().clone(), self.stop.clone());
        Relay::resumed(copy(request), call, planners, self.resume, stop).await.map(Response::into_inner)
    }

    /// The latest state of a batch, followed from now on if it was not before.
    fn latest(&self, request: &Request<WatchBatchRequest>, batch: BatchId) -> watch::Receiver<Latest> {
        let tenant = request.metadata().get(TENANT).map(|tenant| tenant.as_bytes().to_vec());
        let key = Key { tenant, batch };
        let mut open = self.lock();
        if let Some(sender) = open.get(&key) {
            return sender.subscribe();
        }
        let (sender, receiver) = watch::channel(Latest::Unknown);
        open.insert(key.clone(), sender.clone());
        let span = tracing::info_span!(parent: None, "watch", %batch);
        self.tasks.spawn(self.clone().follow(key, of_all(request, batch), sender).instrument(span));
        receiver
    }

    /// Forgets a watch, and none that was begun since.
    fn forget(&self, key: &Key, sender: &watch::Sender<Latest>) {
        let mut open = self.lock();
        if open.get(key).is_some_and(|known| known.same_channel(sender)) {
            open.remove(key);
        }
    }

    /// Forgets a watch that nobody has. Whether nobody has.
    fn forget_unwatched(&self, key: &Key, sender: &watch::Sender<Latest>) -> bool {
        let mut open = self.lock();
        let is_watched = sender.receiver_count() > 0;
        if !is_watched {
            open.remove(key);
        }
        !is_watched
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, watch::Sender<Latest>>> {
        // Nothing panics while it holds this lock.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Watches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watches").field("open", &self.lock().len()).finish_non_exhaustive()
    }
}

/// The watch that all subscribers share: from the beginning, and as long as any of them stays.
fn of_all(request: &Request<WatchBatchRequest>, batch: BatchId) -> Request<WatchBatchRequest> {
    let mut shared = copy(request);
    for key in OF_THE_CALL {
        shared.metadata_mut().remove(key);
    }
    *shared.get_mut() = WatchBatchRequest { name: batch.name(), resume_token: String::new() };
    shared
}

fn no_sense(what: &str) -> Status {
    tracing::error!(what, "the planner is of another version");
    Reason::Internal.status("the planner's answer is of another version than the gateway")
}
