//! States of batches that are watched, however many watch.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use caravan_proto::name::BatchId;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

use super::view;
use crate::{
    clock,
    signals::Signals,
    store::{self, Batch, Micros, Store},
};

/// A batch that is watched is looked at this often: lanes come and go without a hint.
const LOOK: Duration = Duration::from_millis(500);
/// What other replicas commit gives no hint here: revisions are looked at this often, those of all batches that
/// are watched in one statement.
const LOOK_OUT: Duration = Duration::from_millis(50);
/// Between two looks at a batch at least: hints come with every commit of any batch.
const PAUSE: Duration = Duration::from_millis(50);

/// What was seen of a batch last.
#[derive(Debug, Clone)]
pub(super) struct Look {
    pub(super) batch: Arc<Batch>,
    /// The database's time then.
    now: Micros,
    at: Instant,
}

/// The latest state of every batch that is watched through this replica, read once for all who watch it.
/// Cheap to clone. Memory: a task and a row for each such batch. A database that cannot be reached leaves what
/// was seen last.
#[derive(Clone)]
pub(crate) struct Latest {
    store: Arc<dyn Store>,
    signals: Signals,
    watched: Arc<Mutex<Watched>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

#[derive(Default)]
struct Watched {
    batches: HashMap<BatchId, watch::Sender<Option<Look>>>,
    /// Whether somebody looks at their revisions.
    has_lookout: bool,
}

// === impl Look ===

impl Look {
    fn new(batch: Batch, now: Micros) -> Self {
        Self { batch: Arc::new(batch), now, at: Instant::now() }
    }

    /// The database's time.
    pub(super) fn now(&self) -> Micros {
        self.now.saturating_add(clock::span(self.at.elapsed()))
    }

    /// Puts what was read in place of what was seen. Whether it tells anything new.
    fn replaces(self, seen: &mut Option<Self>) -> bool {
        let known = seen.as_ref().map(|seen| &*seen.batch);
        // Lanes come and go without a revision.
        let is_new = known != Some(&self.batch);
        if known.is_none_or(|known| known.revision <= self.batch.revision) {
            *seen = Some(self);
            return is_new;
        }
        false
    }
}

// === impl Latest ===

impl Latest {
    /// States in `store`; `stop` ends all watches.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        signals: Signals,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self { store, signals, watched: Arc::default(), tasks, stop }
    }

    /// What is seen of a batch from now on, beginning with `found`, which was just read; none once it is gone.
    /// Closed behind its end.
    pub(super) async fn follow(&self, found: Batch) -> Result<watch::Receiver<Option<Look>>, store::Error> {
        let (id, look) = (found.id, Look::new(found, self.store.now().await?));
        let mut watched = self.lock();
        if let Some(sender) = watched.batches.get(&id) {
            sender.send_if_modified(|seen| look.replaces(seen));
            return Ok(sender.subscribe());
        }
        let ended = view::ended(look.batch.state);
        let (sender, receiver) = watch::channel(Some(look));
        if !ended {
            watched.batches.insert(id, sender.clone());
            if !std::mem::replace(&mut watched.has_lookout, true) {
                self.tasks.spawn(self.clone().look_out());
            }
            let span = tracing::info_span!("latest", batch = %id);
            self.tasks.spawn(self.clone().keep_up(id, sender).instrument(span));
        }
        Ok(receiver)
    }

    async fn keep_up(self, id: BatchId, sender: watch::Sender<Option<Look>>) {
        loop {
            tokio::select! {
                () = self.signals.until_batch_changes(LOOK) => {}
                () = self.stop.cancelled() => break,
            }
            if self.is_unwatched(id, &sender) {
                return;
            }
            match self.read(id).await {
                Ok(Some(look)) => {
                    let ended = view::ended(look.batch.state);
                    sender.send_if_modified(|seen| look.replaces(seen));
                    if ended {
                        break;
                    }
                }
                Ok(None) => {
                    sender.send_replace(None);
                    break;
                }
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "a batch cannot be looked at");
                }
            }
            sleep(PAUSE).await;
        }
        self.lock().batches.remove(&id);
    }

    /// Gives a hint wherever another replica has moved on a batch, as long as any is watched.
    async fn look_out(self) {
        loop {
            tokio::select! {
                () = sleep(LOOK_OUT) => {}
                () = self.stop.cancelled() => return,
            }
            let known = {
                let mut watched = self.lock();
                watched.has_lookout = !watched.batches.is_empty();
                watched.revisions()
            };
            if known.is_empty() {
                return;
            }
            let ids: Vec<BatchId> = known.keys().copied().collect();
            match self.store.revisions(&ids).await {
                Ok(now) => {
                    if now.iter().any(|(id, revision)| known.get(id) < Some(revision)) {
                        self.signals.batch_changed();
                    }
                }
                Err(error) => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "revisions cannot be looked at"
                    );
                }
            }
        }
    }

    async fn read(&self, id: BatchId) -> Result<Option<Look>, store::Error> {
        let now = self.store.now().await?;
        Ok(self.store.batch(id).await?.map(|batch| Look::new(batch, now)))
    }

    /// Forgets a batch that nobody watches any more.
    fn is_unwatched(&self, id: BatchId, sender: &watch::Sender<Option<Look>>) -> bool {
        let mut watched = self.lock();
        let unwatched = sender.receiver_count() == 0;
        if unwatched {
            watched.batches.remove(&id);
        }
        unwatched
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        // Nothing panics while it holds this lock.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Watched ===

impl Watched {
    fn revisions(&self) -> HashMap<BatchId, i64> {
        let seen = |(id, sender): (&BatchId, &watch::Sender<Option<Look>>)| {
            Some((*id, sender.borrow().as_ref()?.batch.revision))
        };
        self.batches.iter().filter_map(seen).collect()
    }
}
