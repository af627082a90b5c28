use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use caravan_proto::v1::{self, connect_response::Message, ensure_model_response::State};
use tokio::sync::watch;

use super::{Outgoing, Target};
use crate::store::Store;

/// Errands on their way: what executors of this replica do to get models. Cheap to clone.
///
/// Memory: an entry each, until it has ended; executors take a bounded number of them.
#[derive(Clone)]
pub struct Errands {
    store: Arc<dyn Store>,
    open: Arc<Mutex<HashMap<String, Open>>>,
}

/// An errand that has not ended.
struct Open {
    outgoing: Outgoing,
    /// SHA-256 of the file that is imported; empty if the engine pulls.
    sha256: String,
    latest: watch::Sender<v1::EnsureModelResponse>,
}

// === impl Errands ===

impl Errands {
    /// No errands; what becomes of files is remembered in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, open: Arc::default() }
    }

    /// Sends an errand. What is given shows how far it is, the latest state only, and is closed
    /// behind the last one. The errand goes on when nobody looks.
    pub async fn send(
        &self,
        target: &Target,
        errand: v1::EnsureModelErrand,
    ) -> watch::Receiver<v1::EnsureModelResponse> {
        let (latest, seen) = watch::channel(v1::EnsureModelResponse {
            executor: target.executor.name(),
            host: target.host.clone(),
            engine: target.engine.clone(),
            state: State::Waiting.into(),
            ..Default::default()
        });
        let (id, outgoing) = (errand.errand.clone(), target.outgoing.clone());
        let open = Open { outgoing, sha256: errand.sha256.clone(), latest };
        self.lock().insert(id.clone(), open);
        if !target.outgoing.send(Message::EnsureModel(errand)).await {
            self.fail(|errand, _| errand == &id, "the executor has just gone away");
        }
        seen
    }

    /// How far an errand is, as its executor says. Of an errand that nobody knows nothing is kept.
    pub(super) async fn progress(&self, outgoing: &Outgoing, progress: v1::ModelProgress) {
        let state = progress.state();
        let known = {
            let errands = self.lock();
            let open = errands.get(&progress.errand).filter(|open| open.outgoing.is(outgoing));
            open.map(|open| open.sha256.clone())
        };
        let Some(sha256) = known else { return };
        // Before anybody hears that it is ready: who asks again then finds it.
        if state == State::Ready && !sha256.is_empty() && !progress.digest.is_empty() {
            let kept = self.store.put_import(&sha256, &progress.digest).await;
            // Who asks again has it imported again.
            if let Err(error) = kept {
                tracing::warn!(error = &error as &dyn std::error::Error, "an import is not remembered");
            }
        }
        let mut errands = self.lock();
        let Some(open) = errands.get(&progress.errand) else { return };
        open.latest.send_modify(|latest| {
            latest.state = progress.state;
            latest.message = progress.message;
            latest.completed_bytes = progress.completed_bytes;
            latest.total_bytes = progress.total_bytes;
            latest.digest = progress.digest;
        });
        if matches!(state, State::Ready | State::Failed) {
            errands.remove(&progress.errand);
        }
    }

    /// Nothing more will be heard of the errands of a session.
    pub(super) fn over(&self, outgoing: &Outgoing) {
        let why = "the executor was lost; what it had begun may go on: ask again when it is back";
        self.fail(|_, open| open.outgoing.is(outgoing), why);
    }

    fn fail(&self, which: impl Fn(&String, &Open) -> bool, why: &str) {
        for (_, open) in self.lock().extract_if(|id, open| which(id, open)) {
            open.latest.send_modify(|latest| {
                latest.state = State::Failed.into();
                why.clone_into(&mut latest.message);
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Open>> {
        // Nothing panics while it holds this lock.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Errands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Errands").field("open", &self.lock().len()).finish_non_exhaustive()
    }
}
