use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use caravan_proto::{
    name::{BatchId, ExecutorId, LeaseId},
    v1::{self, connect_response::Message},
};

use super::{Outgoing, Target, digests::Digests};
use crate::profiles;

/// The executors that are connected to this replica. Cheap to clone.
/// Memory: one entry an executor, one credit a lane, and every profile once.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    connected: Arc<Mutex<HashMap<ExecutorId, Connected>>>,
    profiles: Arc<Mutex<Vec<v1::Profile>>>,
    /// Whether leases could not be renewed that executors named.
    unrenewed: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Connected {
    outgoing: Outgoing,
    detail: v1::Executor,
    credits: Vec<v1::Credit>,
    /// Leases that it was given here, or names in heartbeats, until one does not name them any more.
    leases: HashMap<LeaseId, BatchId>,
}

/// How soon the holder of a lease stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// At once: what is in flight is cut off.
    Now,
    /// When the request in flight has ended; what is left of the chunk is handed back.
    AfterRequest,
}

/// A credit with what is known of the lane's engine.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub(super) executor: ExecutorId,
    pub(super) credit: v1::Credit,
    pub(super) engine: v1::Engine,
    pub(super) outgoing: Outgoing,
}

// === impl Connected ===

impl Connected {
    /// Whether one of its engines that serve has a model with this vocabulary.
    fn has_vocabulary(&self, key: &str) -> bool {
        let ready = self.detail.engines.iter().filter(|e| e.state() == v1::engine::State::Ready);
        ready.flat_map(|engine| &engine.models).any(|model| model.vocabulary == key)
    }
}

// === impl Fleet ===

impl Fleet {
    /// Takes a session in. One that the same executor had before is over.
    pub(crate) fn join(&self, id: ExecutorId, outgoing: Outgoing, mut detail: v1::Executor) {
        self.cap(&mut detail);
        let before = self
            .lock()
            .insert(id, Connected { outgoing, detail, credits: Vec::new(), leases: HashMap::new() });
        if let Some(before) = before {
            before.outgoing.close(tonic::Status::aborted("the executor has dialled again"));
        }
    }

    /// Leases that an executor named could not be renewed: the store failed, or was too slow.
    pub(crate) fn unrenewed(&self) {
        self.unrenewed.store(true, Ordering::Relaxed);
    }

    /// Whether that was so since this was asked last.
    pub(crate) fn take_unrenewed(&self) -> bool {
        self.unrenewed.swap(false, Ordering::Relaxed)
    }

    /// Takes a session out, unless a newer one of the same executor is in.
    pub(super) fn leave(&self, id: ExecutorId, outgoing: &Outgoing) {
        let mut connected = self.lock();
        if connected.get(&id).is_some_and(|known| known.outgoing.is(outgoing)) {
            connected.remove(&id);
        }
    }

    /// What the executor says of itself now; gives the whole.
    pub(super) fn update(
        &self,
        id: ExecutorId,
        outgoing: &Outgoing,
        change: impl FnOnce(&mut v1::Executor),
    ) -> Option<v1::Executor> {
        let mut connected = self.lock();
        let known = connected.get_mut(&id).filter(|known| known.outgoing.is(outgoing))?;
        change(&mut known.detail);
        self.cap(&mut known.detail);
        Some(known.detail.clone())
    }

    /// Takes note of what was measured: engines that speak from now on are asked for no larger contexts than are
    /// safe on them.
    pub(super) fn learn(&self, profiles: Vec<v1::Profile>) {
        *self.profiles.lock().unwrap_or_else(PoisonError::into_inner) = profiles;
    }

    fn cap(&self, executor: &mut v1::Executor) {
        let profiles = self.profiles.lock().unwrap_or_else(PoisonError::into_inner);
        executor.engines.iter_mut().for_each(|engine| profiles::cap(engine, &profiles));
    }

    /// Takes credits; a lane has one at most.
    pub(super) fn credit(&self, id: ExecutorId, outgoing: &Outgoing, credits: Vec<v1::Credit>) {
        let mut connected = self.lock();
        let known = connected.get_mut(&id).filter(|known| known.outgoing.is(outgoing));
        let Some(known) = known else { return };
        for credit in credits {
            known.credits.retain(|open| (&open.engine, open.lane) != (&credit.engine, credit.lane));
            known.credits.push(credit);
        }
    }

    /// Forgets the credits of an executor that is going away.
    pub(super) fn drain(&self, id: ExecutorId, outgoing: &Outgoing) {
        if let Some(known) = self.lock().get_mut(&id).filter(|known| known.outgoing.is(outgoing)) {
            known.credits.clear();
            known.detail.state = v1::executor::State::Draining.into();
        }
    }

    /// Every engine, by host, for errands.
    pub(crate) fn targets(&self) -> Vec<Target> {
        let connected = self.lock();
        let each = connected.iter().flat_map(|(id, known)| {
            known.detail.engines.iter().map(|engine| Target {
                executor: *id,
                host: known.detail.host.clone(),
                engine: engine.id.clone(),
                kind: engine.kind(),
                outgoing: known.outgoing.clone(),
            })
        });
        let mut targets: Vec<_> = each.collect();
        targets.sort_by(|a, b| (&a.host, a.executor, &a.engine).cmp(&(&b.host, b.executor, &b.engine)));
        targets
    }

    /// The digests that the engines that serve hold.
    pub(super) fn digests(&self) -> Digests {
        let connected = self.lock();
        let engines = connected.values().flat_map(|known| &known.detail.engines);
        engines.filter(|engine| engine.state() == v1::engine::State::Ready).collect()
    }

    /// Every open credit of an engine that serves.
    pub(super) fn open_credits(&self) -> Vec<Open> {
        let connected = self.lock();
        let open = connected.iter().flat_map(|(id, known)| {
            known.credits.iter().filter_map(|credit| {
                let engine = known.detail.engines.iter().find(|engine| engine.id == credit.engine)?;
                (engine.state() == v1::engine::State::Ready).then(|| Open {
                    executor: *id,
                    credit: credit.clone(),
                    engine: engine.clone(),
                    outgoing: known.outgoing.clone(),
                })
            })
        });
        open.collect()
    }

    /// Uses a credit up. False if it is gone: the session is over, or drains.
    pub(super) fn take(&self, open: &Open) -> bool {
        let mut connected = self.lock();
        let Some(known) = connected.get_mut(&open.executor) else { return false };
        let before = known.credits.len();
        if known.outgoing.is(&open.outgoing) {
            known.credits.retain(|credit| *credit != open.credit);
        }
        known.credits.len() < before
    }

    /// Takes note of a lease that is sent to an executor.
    pub(super) fn given(&self, executor: ExecutorId, lease: LeaseId, batch: BatchId) {
        if let Some(known) = self.lock().get_mut(&executor) {
            known.leases.insert(lease, batch);
        }
    }

    /// Takes note of the leases that an executor holds, whichever replica gave them, and of their batches if it
    /// says so.
    pub(super) fn holds(
        &self,
        id: ExecutorId,
        outgoing: &Outgoing,
        held: &HashMap<LeaseId, Option<BatchId>>,
    ) {
        if let Some(known) = self.lock().get_mut(&id).filter(|known| known.outgoing.is(outgoing)) {
            known.leases.retain(|lease, _| held.contains_key(lease));
            let told = held.iter().filter_map(|(lease, batch)| Some((*lease, (*batch)?)));
            known.leases.extend(told);
        }
    }

    /// Every lease that an executor of this replica may hold, with its batch.
    pub(crate) fn leases(&self) -> Vec<(ExecutorId, LeaseId, BatchId)> {
        let connected = self.lock();
        let leases = connected
            .iter()
            .flat_map(|(id, known)| known.leases.iter().map(|(lease, batch)| (*id, *lease, *batch)));
        leases.collect()
    }

    /// Tells executors of this replica to stop leases. Those of other replicas hear it from theirs, whose
    /// upkeep looks at batches each second, and at the latest in answer to a heartbeat.
    pub async fn revoke(&self, leases: &[(ExecutorId, LeaseId)], stop: Stop, reason: &str) {
        for (executor, lease) in leases {
            let outgoing = self.lock().get_mut(executor).map(|known| {
                if stop == Stop::Now {
                    known.leases.remove(lease);
                }
                known.outgoing.clone()
            });
            if let Some(outgoing) = outgoing {
                let (lease_id, reason) = (lease.to_string(), reason.to_owned());
                let after_request = stop == Stop::AfterRequest;
                let revoke = v1::Revoke { lease_id, unless_started: false, reason, after_request };
                outgoing.send(Message::Revoke(revoke)).await;
            }
        }
    }

    /// Asks an executor that has a vocabulary for it. False if none is connected to this replica.
    pub(crate) async fn want_vocabulary(&self, key: &str) -> bool {
        let having: Vec<_> = {
            let connected = self.lock();
            let having = connected.values().filter(|known| known.has_vocabulary(key));
            having.map(|known| known.outgoing.clone()).collect()
        };
        for outgoing in having {
            let want = v1::WantVocabulary { vocabulary: key.to_owned() };
            if outgoing.send(Message::WantVocabulary(want)).await {
                return true;
            }
        }
        false
    }

    /// Whether the executor says that it has a vocabulary.
    pub(super) fn has_vocabulary(&self, id: ExecutorId, key: &str) -> bool {
        self.lock().get(&id).is_some_and(|known| known.has_vocabulary(key))
    }

    /// Sends every executor away: this replica stops.
    pub(super) async fn dismiss(&self, message: &v1::Drain) {
        let all: Vec<_> = self.lock().values().map(|known| known.outgoing.clone()).collect();
        for outgoing in all {
            outgoing.send(Message::Drain(*message)).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ExecutorId, Connected>> {
        // Nothing panics while it holds this lock, and if it did, every entry is still whole.
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use tokio_util::sync::CancellationToken;

    use super::*;

    #[tokio::test]
    async fn a_lease_is_known_until_it_is_revoked_or_not_named_any_more() {
        let (fleet, executor, batch) = (Fleet::default(), ExecutorId::now(), BatchId::now());
        let (sender, mut sent) = mpsc::channel(8);
        let outgoing = Outgoing::new(sender, CancellationToken::new());
        fleet.join(executor, outgoing.clone(), v1::Executor::default());
        let [kept, ended, stopped] = [LeaseId::now(), LeaseId::now(), LeaseId::now()];
        for lease in [kept, ended, stopped] {
            fleet.given(executor, lease, batch);
        }
        assert_eq!(fleet.leases().len(), 3);
        let elsewhere = LeaseId::now();
        let held = [(kept, None), (stopped, Some(batch)), (elsewhere, Some(batch))];
        fleet.holds(executor, &outgoing, &held.into());
        assert_eq!(fleet.leases().len(), 3, "one was given by another replica");
        fleet.revoke(&[(executor, elsewhere)], Stop::Now, "test").await;
        assert!(sent.recv().await.is_some());
        for stop in [Stop::AfterRequest, Stop::Now] {
            fleet.revoke(&[(executor, stopped), (ExecutorId::now(), kept)], stop, "test").await;
            let message = sent.recv().await.unwrap().unwrap().message;
            let Some(Message::Revoke(revoke)) = message else { panic!("{message:?}") };
            assert_eq!(
                (revoke.lease_id, revoke.after_request),
                (stopped.to_string(), stop == Stop::AfterRequest)
            );
        }
        assert_eq!(fleet.leases(), [(executor, kept, batch)]);
    }
}
