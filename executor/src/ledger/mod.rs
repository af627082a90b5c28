//! What this process owes the planner and holds of it: leases, credits, results.

mod errand;
mod outbox;
mod state;

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use caravan_proto::v1::{self, LeaseStatus, RequestResult, connect_request::Message};
use tokio::sync::Notify;

use crate::lease::{LaneId, Lease, Warmth};
use errand::Errand;
use outbox::Outbox;
pub(crate) use state::Finish;
use state::{Held, State};

/// The books between lanes and planner. A lane holds at most a running and a fetched
/// chunk, and results are bounded by [`Bounds`], so all of it is.
///
/// Lanes put in (wishes for chunks, results, leases given back), the session takes out
/// (messages), and the other way round. It outlives every stream: after a break the
/// session says [`Ledger::disconnected`], and whatever a new planner must hear again is
/// to be sent again. Nothing here waits for the network.
#[derive(Debug)]
pub(crate) struct Ledger {
    state: Mutex<State>,
    /// Something is to be sent.
    outgoing: Notify,
    /// Results were acked, or the stream broke.
    room: Notify,
    /// A vocabulary is wanted.
    wanted: Notify,
    /// A vocabulary was sent, or nobody waits for it any more.
    sent: Notify,
    bounds: Bounds,
}

/// How many results may be unacked. Lanes start no request beyond it, so at most one
/// more a lane is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Results in all.
    pub(crate) results: usize,
    /// Their bytes in all.
    pub(crate) bytes: usize,
    /// While connected: no more than two a lane if the oldest is older than this.
    pub(crate) ack_within: Duration,
    /// Bytes of results in one message, except for a single result that is larger.
    pub(crate) message_bytes: usize,
}

/// A chunk at work, for the heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AtWork {
    pub(crate) lane: LaneId,
    pub(crate) batch: String,
    pub(crate) chunk: i32,
    pub(crate) done: usize,
    pub(crate) total: usize,
}

// === impl Ledger ===

impl Ledger {
    /// Of a process that holds nothing. `ttl` counts until a planner says its own.
    pub(crate) fn new(bounds: Bounds, ttl: Duration) -> Self {
        let state = State {
            lanes: BTreeMap::new(),
            leases: HashMap::new(),
            down: Vec::new(),
            closed: HashMap::new(),
            lanes_open: HashMap::new(),
            outbox: Outbox::default(),
            errand: Errand::default(),
            hand_backs: Vec::new(),
            connected: false,
            draining: false,
            draining_told: false,
            report: false,
            ttl,
        };
        let (outgoing, room, wanted, sent) = Default::default();
        Self { state: Mutex::new(state), outgoing, room, wanted, sent, bounds }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // --- lanes ---

    /// A new lane.
    pub(crate) fn add_lane(&self, lane: LaneId) {
        self.lock().lanes.entry(lane).or_default();
    }

    /// Asks for a chunk for `lane`, unless one is asked for or fetched.
    pub(crate) fn want(&self, lane: &LaneId, warmth: &Warmth) {
        if self.lock().want(lane, warmth) {
            self.outgoing.notify_one();
        }
    }

    /// The next chunk of `lane`; asks for one if need be.
    pub(crate) async fn take(&self, lane: &LaneId, warmth: &Warmth) -> Arc<Lease> {
        loop {
            let filled = {
                let mut state = self.lock();
                let place = state.lanes.entry(lane.clone()).or_default();
                if let Some(lease) = place.fetched.take() {
                    return lease;
                }
                let filled = Arc::clone(&place.filled);
                if state.want(lane, warmth) {
                    self.outgoing.notify_one();
                }
                filled
            };
            filled.notified().await;
        }
    }

    /// The next request of `lease` is about to be sent to the engine; false if the lease
    /// is no longer held.
    pub(crate) fn start(&self, lease: &Lease) -> bool {
        let mut state = self.lock();
        let draining = state.draining;
        if let Some(reason) = state.stops(lease) {
            state.hand_back(&lease.id, &reason);
            drop(state);
            self.outgoing.notify_one();
            return false;
        }
        let Some(held) = state.leases.get_mut(&lease.id) else { return false };
        if draining && !held.started {
            return false;
        }
        held.started = true;
        true
    }

    /// Waits until a result more may be kept.
    pub(crate) async fn room(&self) {
        loop {
            let acked = self.room.notified();
            tokio::pin!(acked);
            acked.as_mut().enable();
            if self.lock().has_room(&self.bounds) {
                return;
            }
            acked.await;
        }
    }

    /// A request ended.
    pub(crate) fn post(&self, result: RequestResult) {
        let mut state = self.lock();
        let lease = result.lease_id.clone();
        let kept = state.outbox.keep(result);
        if let Some(held) = state.leases.get_mut(&lease) {
            held.done += 1;
            held.unacked += usize::from(kept);
        }
        drop(state);
        self.outgoing.notify_one();
    }

    /// The lane is through with `lease`. It stays held until its results are acked, so
    /// that nobody else gets it before they are safe.
    pub(crate) fn finish(&self, lease: &Lease) {
        let mut state = self.lock();
        if let Some(held) = state.leases.get_mut(&lease.id) {
            held.ended = true;
            // Payloads are large, and many chunks may wait for their acks.
            held.lease = Arc::new(held.lease.spent());
            if held.unacked == 0 {
                state.leases.remove(&lease.id);
            }
        }
    }

    /// Waits for a vocabulary that the planner wants: its key.
    pub(crate) async fn wanted_vocabulary(&self) -> String {
        loop {
            if let Some(key) = self.lock().errand.next() {
                return key;
            }
            // Keeps what was notified before: there is one who waits.
            self.wanted.notified().await;
        }
    }

    /// Has a vocabulary sent, once the one before it is. Dropped if the planner is gone.
    pub(crate) async fn give_vocabulary(&self, vocabulary: v1::Vocabulary) {
        loop {
            let sent = self.sent.notified();
            tokio::pin!(sent);
            sent.as_mut().enable();
            {
                let mut state = self.lock();
                if !state.connected {
                    return;
                }
                if !state.errand.is_ready() {
                    state.errand.put(vocabulary);
                    break;
                }
            }
            sent.await;
        }
        self.outgoing.notify_one();
    }

    /// Has profiles sent. Dropped if the planner is gone: the next one gets them with the greeting.
    pub(crate) fn give_profiles(&self, profiles: Vec<v1::Profile>) {
        let mut state = self.lock();
        if state.connected && !profiles.is_empty() {
            state.errand.put_profiles(profiles);
            self.outgoing.notify_one();
        }
    }

    /// Gives `lease` back with what is left of it.
    pub(crate) fn hand_back(&self, lease: &Lease, reason: &str) {
        self.lock().hand_back(&lease.id, reason);
        self.outgoing.notify_one();
    }

    /// Gives back what was fetched for `lane` and not taken yet.
    pub(crate) fn hand_back_fetched(&self, lane: &LaneId, reason: &str) {
        let mut state = self.lock();
        let fetched = state.lanes.get(lane).and_then(|place| place.fetched.clone());
        if let Some(lease) = fetched {
            state.hand_back(&lease.id, reason);
            drop(state);
            self.outgoing.notify_one();
        }
    }

    /// How long a lease lives without a heartbeat.
    pub(crate) fn ttl(&self) -> Duration {
        self.lock().ttl
    }

    /// Whether lanes of `engine` may ask for chunks; the planner hears of it at once.
    pub(crate) fn set_up(&self, engine: &Arc<str>, up: bool) {
        let mut state = self.lock();
        state.down.retain(|down| down != engine);
        if !up {
            state.down.push(Arc::clone(engine));
        }
        drop(state);
        self.report();
    }

    /// Lanes of `engine` take no work until it is opened: what was not started is given back for
    /// `reason`, the rest goes on as `finish` says.
    pub(crate) fn close(&self, engine: &Arc<str>, finish: Finish, reason: &'static str) {
        self.lock().close(engine, finish, reason);
        self.outgoing.notify_one();
    }

    /// Lanes of `engine` take work again.
    pub(crate) fn open(&self, engine: &Arc<str>) {
        if self.lock().open(engine) {
            self.report();
        }
    }

    /// Of `engine` only the first `lanes` take work from now on; what others have fetched goes back.
    pub(crate) fn set_lanes(&self, engine: &Arc<str>, lanes: u32) {
        self.lock().set_lanes(engine, lanes);
        self.report();
    }

    /// Whether `lane` takes work.
    pub(crate) fn is_open(&self, lane: &LaneId) -> bool {
        self.lock().is_open(lane)
    }

    /// A heartbeat is due: the planner should know of a change, or it is time.
    pub(crate) fn report(&self) {
        self.lock().report = true;
        self.outgoing.notify_one();
    }

    /// No further chunks: unstarted leases are given back, started ones go on.
    pub(crate) fn drain(&self) {
        let mut state = self.lock();
        state.draining = true;
        for place in state.lanes.values_mut() {
            place.credit = None;
            place.fetched = None;
        }
        state.hand_back_unstarted(|_| true, "drain");
        drop(state);
        self.outgoing.notify_one();
    }

    // --- session ---

    /// Waits until something may be there to send.
    pub(crate) async fn outgoing(&self) {
        self.outgoing.notified().await;
    }

    /// A planner said welcome.
    pub(crate) fn connected(&self, ttl: Duration) {
        let mut state = self.lock();
        state.connected = true;
        state.ttl = ttl;
        // A planner that did not know this process hears of its leases first.
        state.report = true;
    }

    /// The stream broke: the next planner hears everything that this one may not have.
    pub(crate) fn disconnected(&self) {
        let mut state = self.lock();
        state.connected = false;
        state.draining_told = false;
        state.outbox.send_again();
        state.errand.forget();
        for place in state.lanes.values_mut() {
            if let Some(credit) = &mut place.credit {
                credit.sent = false;
            }
        }
        drop(state);
        self.room.notify_waiters();
        self.sent.notify_waiters();
    }

    /// A vocabulary that the planner wants.
    pub(crate) fn want_vocabulary(&self, key: String) {
        if self.lock().errand.want(key) {
            self.wanted.notify_one();
        } else {
            tracing::warn!("too many vocabularies are wanted at once: one is not read");
        }
    }

    /// A chunk for a lane. One that cannot be taken is given back at once.
    pub(crate) fn accept(&self, lease: v1::Lease) {
        let (lease_id, batch) = (lease.lease_id.clone(), lease.batch.clone());
        let status = LeaseStatus { lease_id, epoch: lease.epoch, started: false, batch };
        let mut state = self.lock();
        if state.leases.contains_key(&lease.lease_id) {
            return;
        }
        let taken = match Lease::try_from(lease) {
            Ok(lease) => state.place(Arc::new(lease)),
            Err(malformed) => Err(malformed.to_string()),
        };
        if let Err(reason) = taken {
            tracing::warn!(lease = status.lease_id, reason, "lease not taken");
            state.hand_backs.push((status, reason));
        }
        drop(state);
        self.outgoing.notify_one();
    }

    /// Results are safe.
    pub(crate) fn acked(&self, ack: &v1::Ack) {
        let mut state = self.lock();
        for chunk in &ack.chunks {
            for id in state.outbox.forget(chunk) {
                state.forget_result(&id);
            }
        }
        drop(state);
        self.room.notify_waiters();
        // Who waits for the last ack waits for this.
        self.outgoing.notify_one();
    }

    /// Leases that are no longer held. Their results go on to be sent.
    pub(crate) fn lost(&self, ids: &[String]) {
        let mut state = self.lock();
        for id in ids {
            state.remove(id);
        }
    }

    /// Stop a lease: after its request in flight, `unless_started`, or at once.
    pub(crate) fn revoke(&self, revoke: &v1::Revoke) {
        let mut state = self.lock();
        // The planner may not know yet that it has ended.
        let Some(held) = state.leases.get_mut(&revoke.lease_id) else { return };
        tracing::info!(lease = revoke.lease_id, reason = revoke.reason, "lease revoked");
        match (held.started, revoke.after_request) {
            (true, true) => held.stops = Some(revoke.reason.clone()),
            (false, true) => {
                state.hand_back(&revoke.lease_id, &revoke.reason);
                drop(state);
                self.outgoing.notify_one();
            }
            (true, false) if revoke.unless_started => {}
            (_, false) => drop(state.remove(&revoke.lease_id)),
        }
    }

    /// Whether a heartbeat is due or [`Ledger::next`] has a message.
    pub(crate) fn has_next(&self) -> bool {
        self.lock().has_next()
    }

    /// The next message to send, if there is one: what lanes and planner wait for first.
    pub(crate) fn next(&self) -> Option<Message> {
        let next = self.lock().next(self.bounds.message_bytes);
        if matches!(next, Some(Message::Vocabulary(_))) {
            self.sent.notify_waiters();
        }
        next
    }

    /// Whether a heartbeat is due; from now on it is not.
    pub(crate) fn take_report(&self) -> bool {
        mem::take(&mut self.lock().report)
    }

    /// Whether a draining process owes the planner nothing more: all is told and acked.
    pub(crate) fn is_settled(&self) -> bool {
        let state = self.lock();
        let told = !state.connected || state.draining_told;
        told && state.outbox.len() == 0 && state.hand_backs.is_empty()
    }

    /// Results not yet acked.
    pub(crate) fn unacked(&self) -> usize {
        self.lock().outbox.len()
    }

    /// Every lease that is held, for the heartbeat.
    pub(crate) fn statuses(&self) -> Vec<LeaseStatus> {
        self.lock().leases.values().map(Held::status).collect()
    }

    /// Chunks that were started and not ended.
    pub(crate) fn at_work(&self) -> Vec<AtWork> {
        let state = self.lock();
        let running = state.leases.values().filter(|held| held.started && !held.ended);
        running.map(Held::at_work).collect()
    }
}
