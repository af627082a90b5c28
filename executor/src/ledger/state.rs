//! The ledger's books: every change of them is one function, made under one lock.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    sync::Arc,
    time::Duration,
};

use caravan_proto::v1::{
    Credit, Credits, Draining, HandBack, LeaseStatus, Results, connect_request::Message,
};
use tokio::sync::Notify;

use super::{AtWork, Bounds, errand::Errand, outbox::Outbox};
use crate::lease::{LaneId, Lease, Warmth};

#[derive(Debug)]
pub(super) struct State {
    pub(super) lanes: BTreeMap<LaneId, Place>,
    pub(super) leases: HashMap<String, Held>,
    pub(super) down: Vec<Arc<str>>,
    /// Engines that take no work, with what goes on there and why.
    pub(super) closed: HashMap<Arc<str>, (Finish, &'static str)>,
    /// Lanes that take work, by engine; all of them where it is not said.
    pub(super) lanes_open: HashMap<Arc<str>, u32>,
    pub(super) outbox: Outbox,
    pub(super) errand: Errand,
    pub(super) hand_backs: Vec<(LeaseStatus, String)>,
    pub(super) connected: bool,
    pub(super) draining: bool,
    pub(super) draining_told: bool,
    /// A heartbeat should go out at once.
    pub(super) report: bool,
    pub(super) ttl: Duration,
}

/// What goes on at an engine that takes no work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    /// Chunks that were started, to their end.
    Chunks,
    /// Requests that are in flight; the rest of their chunks is given back.
    Requests,
}

/// The planner's side of a lane.
#[derive(Debug, Default)]
pub(super) struct Place {
    pub(super) fetched: Option<Arc<Lease>>,
    pub(super) credit: Option<OpenCredit>,
    pub(super) filled: Arc<Notify>,
}

#[derive(Debug)]
pub(super) struct OpenCredit {
    pub(super) warmth: Warmth,
    pub(super) sent: bool,
}

#[derive(Debug)]
pub(super) struct Held {
    pub(super) lease: Arc<Lease>,
    pub(super) started: bool,
    /// Why no further request of it is begun, if none is.
    pub(super) stops: Option<String>,
    /// Its lane is through with it; it is held until its results are acked.
    pub(super) ended: bool,
    pub(super) unacked: usize,
    pub(super) done: usize,
}

// === impl State ===

impl State {
    pub(super) fn want(&mut self, lane: &LaneId, warmth: &Warmth) -> bool {
        let draining = self.draining;
        let place = self.lanes.entry(lane.clone()).or_default();
        if draining || place.fetched.is_some() || place.credit.is_some() {
            return false;
        }
        place.credit = Some(OpenCredit { warmth: warmth.clone(), sent: false });
        true
    }

    pub(super) fn has_room(&self, bounds: &Bounds) -> bool {
        let (results, bytes) = (self.outbox.len(), self.outbox.bytes());
        let lanes = self.lanes.keys().filter(|lane| self.is_open(lane)).count();
        let late = self.connected
            && results >= 2 * lanes
            && self.outbox.oldest().is_some_and(|ended| ended.elapsed() > bounds.ack_within);
        results < bounds.results && bytes < bounds.bytes && !late
    }

    pub(super) fn place(&mut self, lease: Arc<Lease>) -> Result<(), String> {
        if self.draining {
            return Err("drain".into());
        }
        let open = self.is_open(&lease.lane);
        let place = self.lanes.get_mut(&lease.lane).ok_or("unknown_lane")?;
        if place.fetched.is_some() {
            return Err("no_credit".into());
        }
        // Asked for before. Its lane asks anew, and is heard when it may.
        let closed = self.closed.get(&lease.lane.engine).map(|(_, reason)| *reason);
        if let Some(reason) = closed.or((!open).then_some("lane_closed")) {
            place.credit = None;
            place.filled.notify_one();
            return Err(reason.into());
        }
        place.credit = None;
        place.fetched = Some(Arc::clone(&lease));
        place.filled.notify_one();
        let held = Held { started: false, stops: None, ended: false, unacked: 0, done: 0, lease };
        self.leases.insert(held.lease.id.clone(), held);
        Ok(())
    }

    pub(super) fn close(&mut self, engine: &Arc<str>, finish: Finish, reason: &'static str) {
        self.closed.insert(Arc::clone(engine), (finish, reason));
        self.hand_back_unstarted(|held| held.lease.lane.engine == *engine, reason);
    }

    /// Gives back what was not started, of those that `which` picks.
    pub(super) fn hand_back_unstarted(&mut self, which: impl Fn(&Held) -> bool, reason: &str) {
        let unstarted = self.leases.values().filter(|held| !held.started && which(held));
        for id in unstarted.map(|held| held.lease.id.clone()).collect::<Vec<_>>() {
            self.hand_back(&id, reason);
        }
    }

    /// True if it was closed.
    pub(super) fn open(&mut self, engine: &Arc<str>) -> bool {
        self.closed.remove(engine).is_some()
    }

    /// Why no further request of `lease` is sent, if none is: its engine's reason, or its own.
    pub(super) fn stops(&self, lease: &Lease) -> Option<String> {
        let closed = self.closed.get(&lease.lane.engine).filter(|(finish, _)| *finish == Finish::Requests);
        let own = || self.leases.get(&lease.id).and_then(|held| held.stops.clone());
        closed.map(|(_, reason)| (*reason).to_owned()).or_else(own)
    }

    pub(super) fn is_open(&self, lane: &LaneId) -> bool {
        self.lanes_open.get(&lane.engine).is_none_or(|open| lane.index < *open)
    }

    pub(super) fn set_lanes(&mut self, engine: &Arc<str>, lanes: u32) {
        self.lanes_open.insert(Arc::clone(engine), lanes);
        let closed = self.lanes.iter().filter(|(lane, _)| !self.is_open(lane));
        let fetched = closed.filter_map(|(_, place)| place.fetched.as_ref().map(|lease| lease.id.clone()));
        for id in fetched.collect::<Vec<_>>() {
            self.hand_back(&id, "lane_closed");
        }
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Held> {
        let held = self.leases.remove(id)?;
        held.lease.stopped.cancel();
        if let Some(place) = self.lanes.get_mut(&held.lease.lane)
            && place.fetched.as_ref().is_some_and(|fetched| fetched.id == id)
        {
            place.fetched = None;
            // An idle lane asks again.
            place.filled.notify_one();
        }
        Some(held)
    }

    pub(super) fn hand_back(&mut self, id: &str, reason: &str) {
        if let Some(held) = self.remove(id) {
            tracing::info!(lease = id, reason, "lease handed back");
            self.hand_backs.push((held.status(), reason.to_owned()));
        }
    }

    pub(super) fn forget_result(&mut self, id: &str) {
        if let Some(held) = self.leases.get_mut(id) {
            held.unacked = held.unacked.saturating_sub(1);
            if held.ended && held.unacked == 0 {
                self.leases.remove(id);
            }
        }
    }

    pub(super) fn has_next(&self) -> bool {
        self.report
            || (self.draining && !self.draining_told)
            || !self.hand_backs.is_empty()
            || self.sendable_credits().next().is_some()
            || self.outbox.has_unsent()
            || self.errand.has_next()
    }

    pub(super) fn sendable_credits(&self) -> impl Iterator<Item = &LaneId> {
        let open = self.lanes.iter().filter(|(_, place)| place.credit.as_ref().is_some_and(|c| !c.sent));
        let lanes = open.map(|(lane, _)| lane).filter(|lane| self.is_open(lane));
        let up = lanes.filter(|lane| !self.down.contains(&lane.engine));
        up.filter(|lane| !self.closed.contains_key(&lane.engine))
    }

    pub(super) fn next(&mut self, message_bytes: usize) -> Option<Message> {
        if self.draining && !mem::replace(&mut self.draining_told, true) {
            return Some(Message::Draining(Draining {}));
        }
        let credits = self.credits();
        if !credits.is_empty() {
            return Some(Message::Credits(Credits { credits }));
        }
        let results = self.outbox.send(message_bytes);
        if !results.is_empty() {
            return Some(Message::Results(Results { results }));
        }
        // After the results, so that fewer of them run again elsewhere.
        let Some((_, reason)) = self.hand_backs.first().cloned() else {
            // Only plans wait for it.
            return self.errand.take();
        };
        let told = self.hand_backs.extract_if(.., |(_, other)| *other == reason);
        Some(Message::HandBack(HandBack { leases: told.map(|(lease, _)| lease).collect(), reason }))
    }

    pub(super) fn credits(&mut self) -> Vec<Credit> {
        let lanes: Vec<LaneId> = self.sendable_credits().cloned().collect();
        let mut credits = Vec::new();
        for lane in lanes {
            let Some(open) = self.lanes.get_mut(&lane).and_then(|place| place.credit.as_mut()) else {
                continue;
            };
            open.sent = true;
            credits.push(Credit {
                engine: lane.engine.to_string(),
                lane: i32::try_from(lane.index).unwrap_or(i32::MAX),
                warm_batch: open.warmth.batch.clone(),
                warm_group: open.warmth.group,
                warm_share: open.warmth.share,
            });
        }
        credits
    }
}

// === impl Held ===

impl Held {
    pub(super) fn status(&self) -> LeaseStatus {
        let Lease { id, epoch, batch, .. } = &*self.lease;
        LeaseStatus { lease_id: id.clone(), epoch: *epoch, started: self.started, batch: batch.clone() }
    }

    pub(super) fn at_work(&self) -> AtWork {
        AtWork {
            lane: self.lease.lane.clone(),
            batch: self.lease.batch.clone(),
            chunk: self.lease.chunk,
            done: self.done,
            total: self.lease.open.len(),
        }
    }
}
