//! The gate of one engine: which model it is loaded with, and who may use it now.

mod evict;
mod kept_off;
mod load;
mod refused;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, watch};

use crate::engine::{Engine, Failure, ReloadSet, same_model};
use load::Loading;
use refused::Refusals;
pub(crate) use refused::Refused;

/// Lets the chunks of one reload set in at a time, and one request alone where that is
/// asked for. A chunk that fits the active set enters at once; another waits until all
/// that are inside have left, then the engine is loaded once for all that wait for the
/// same use of the same model. First come, first served: a waiting set is not overtaken for ever.
#[derive(Debug)]
pub(crate) struct Gate {
    engine: Arc<dyn Engine>,
    state: watch::Sender<State>,
    /// Requests in flight; the writer is alone on the engine.
    requests: RwLock<()>,
    /// How long a model that the engine cannot run is not asked for again.
    refuse_for: Duration,
    /// How long an unload may take.
    unload_within: Duration,
}

#[derive(Debug, Default)]
struct State {
    active: Option<Active>,
    inside: usize,
    loading: bool,
    queue: VecDeque<Ticket>,
    next_ticket: u64,
    refused: Refusals,
    /// What was to be loaded last.
    tried: Option<(String, ReloadSet)>,
    /// Loads that ended well, and the time of the last.
    loads: u64,
    load_time: Duration,
}

#[derive(Debug)]
struct Active {
    model: String,
    set: ReloadSet,
    /// The engine went away in between: load again before the next request.
    stale: bool,
    /// And unload before that.
    unload: bool,
}

/// What a chunk needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Need {
    /// The model.
    pub(crate) model: String,
    /// Context of one slot, in tokens; 0 takes what there is.
    pub(crate) context: u64,
    /// Prompt tokens evaluated at once; 0 takes what there is.
    pub(crate) batch: u64,
    /// Loaded to embed (`ReloadSet::embedding`).
    pub(crate) embedding: bool,
}

#[derive(Debug)]
struct Ticket {
    number: u64,
    need: Need,
}

/// The right to run requests of one chunk with the active set; given up when dropped.
#[derive(Debug)]
pub(crate) struct Pass<'a> {
    gate: &'a Gate,
    /// The model that is active.
    pub(crate) model: String,
    /// The set that is active.
    pub(crate) set: ReloadSet,
}

/// The right to have one request in flight; given up when dropped.
#[derive(Debug)]
pub(crate) enum Flight<'a> {
    /// Beside others.
    Shared(#[expect(dead_code, reason = "held for its drop")] RwLockReadGuard<'a, ()>),
    /// Alone on the engine.
    Alone(#[expect(dead_code, reason = "held for its drop")] RwLockWriteGuard<'a, ()>),
}

#[derive(Debug)]
enum Turn {
    Wait,
    Enter,
    Load,
    Refused(Failure),
}

// === impl Active ===

impl Active {
    /// Whether chats of `model` are served as it is.
    fn serves(&self, model: &str) -> bool {
        !self.stale && !self.set.embedding && same_model(&self.model, model)
    }
}

// === impl State ===

impl State {
    /// Nobody is inside, and nothing is loaded just now.
    fn is_idle(&self) -> bool {
        self.inside == 0 && !self.loading
    }

    fn fits(&self, need: &Need) -> bool {
        self.active.as_ref().is_some_and(|active| {
            same_model(&active.model, &need.model)
                && need.embedding == active.set.embedding
                && (need.context == 0 || need.context <= active.set.context)
                && (need.batch == 0 || need.batch <= active.set.batch)
        })
    }

    fn turn(&self, number: u64) -> Turn {
        let Some(place) = self.queue.iter().position(|ticket| ticket.number == number) else {
            return Turn::Wait;
        };
        let need = &self.queue[place].need;
        if let Some(failure) = self.refused.of(need) {
            return Turn::Refused(failure.clone());
        }
        if self.loading {
            return Turn::Wait;
        }
        if self.queue.iter().take(place + 1).all(|ticket| self.fits(&ticket.need)) {
            return Turn::Enter;
        }
        if place == 0 && self.inside == 0 { Turn::Load } else { Turn::Wait }
    }

    /// The smallest set that suits every chunk that waits for the same use of this model, and may. Its batch
    /// never shrinks while the model stays: of two needs, one could have the larger context and the
    /// other the larger batch, and they would take turns loading.
    fn wanted(&self, Need { model, embedding, .. }: &Need) -> ReloadSet {
        let waiting = self.queue.iter().map(|ticket| &ticket.need);
        let same = waiting
            .filter(|need| same_model(&need.model, model) && need.embedding == *embedding)
            .filter(|need| self.refused.of(need).is_none());
        let active = self
            .active
            .as_ref()
            .filter(|active| same_model(&active.model, model) && active.set.embedding == *embedding);
        let batch = active.map_or(0, |active| active.set.batch);
        let smallest = ReloadSet { embedding: *embedding, batch, ..ReloadSet::default() };
        same.fold(smallest, |set, need| ReloadSet {
            context: set.context.max(need.context),
            batch: set.batch.max(need.batch),
            ..set
        })
    }
}

// === impl Gate ===

impl Gate {
    /// The gate of `engine`, with nothing loaded that is known. A model that it cannot
    /// run is not asked for again for `refuse_for`; an unload may take `unload_within`.
    pub(crate) fn new(engine: Arc<dyn Engine>, refuse_for: Duration, unload_within: Duration) -> Self {
        let state = watch::Sender::new(State::default());
        Self { engine, state, requests: RwLock::new(()), refuse_for, unload_within }
    }

    /// Waits until the engine is loaded as the chunk needs it, and loads it if it is this
    /// chunk's turn. Fails as the load failed; a `Class::Model` failure is remembered and
    /// given to all that wait for the model.
    pub(crate) async fn enter(&self, need: Need) -> Result<Pass<'_>, Failure> {
        let place = self.queue(need);
        let mut changes = self.state.subscribe();
        loop {
            let turn = {
                let state = changes.wait_for(|state| !matches!(state.turn(place.number), Turn::Wait)).await;
                state.map_or(Turn::Wait, |state| state.turn(place.number))
            };
            match turn {
                Turn::Wait => {}
                Turn::Refused(failure) => return Err(failure),
                Turn::Enter => {
                    if let Some(pass) = self.pass(place.number) {
                        return Ok(pass);
                    }
                }
                Turn::Load => {
                    if let Some(loading) = self.begin_load(place.number) {
                        loading.run(&place.need).await?;
                    }
                }
            }
        }
    }

    /// A pass for `model`'s chats if the engine is loaded for them: waits for nothing and changes
    /// nothing.
    pub(crate) fn visit(&self, model: &str) -> Option<Pass<'_>> {
        let mut pass = None;
        self.state.send_if_modified(|state| {
            let Some(active) = state.active.as_ref().filter(|active| active.serves(model)) else {
                return false;
            };
            if state.loading {
                return false;
            }
            pass = Some(Pass { gate: self, model: active.model.clone(), set: active.set });
            state.inside += 1;
            true
        });
        pass
    }

    /// Whether the engine is loaded for `model`'s chats.
    pub(crate) fn is_loaded(&self, model: &str) -> bool {
        self.state.borrow().active.as_ref().is_some_and(|active| active.serves(model))
    }

    /// What the engine was loaded with last, whether or not it still is; none while it is loaded.
    pub(crate) fn active(&self) -> Option<(String, ReloadSet)> {
        self.state.borrow().active.as_ref().map(|active| (active.model.clone(), active.set))
    }

    /// What the engine was to be loaded with last, whether or not that went well.
    pub(crate) fn tried(&self) -> Option<(String, ReloadSet)> {
        self.state.borrow().tried.clone()
    }

    /// What it is loaded with, if that should be there.
    pub(crate) fn present(&self) -> Option<(String, ReloadSet)> {
        let state = self.state.borrow();
        let active = state.active.as_ref().filter(|active| !active.stale)?;
        Some((active.model.clone(), active.set))
    }

    /// How long the last load took; 0 before the first.
    pub(crate) fn load_time(&self) -> Duration {
        self.state.borrow().load_time
    }

    /// Whether nothing was loaded that is still there, and nobody waits for it.
    pub(crate) fn is_untouched(&self) -> bool {
        let state = self.state.borrow();
        let loaded = state.active.as_ref().is_some_and(|active| !active.stale);
        !loaded && state.is_idle() && state.queue.is_empty()
    }

    /// Waits until a request may be sent: at once, unless another runs alone. Loads
    /// again first if the engine was away.
    pub(crate) async fn shared(&self, pass: &Pass<'_>) -> Result<Flight<'_>, Failure> {
        let guard = self.requests.read().await;
        if self.is_stale().is_none() {
            return Ok(Flight::Shared(guard));
        }
        drop(guard);
        let guard = self.requests.write().await;
        self.refresh(pass).await?;
        Ok(Flight::Shared(guard.downgrade()))
    }

    /// Waits until no request is in flight, and keeps others from starting.
    pub(crate) async fn alone(&self, pass: &Pass<'_>) -> Result<Flight<'_>, Failure> {
        let guard = self.requests.write().await;
        self.refresh(pass).await?;
        Ok(Flight::Alone(guard))
    }

    /// Waits until no request is in flight, and keeps others from starting while it is held.
    pub(crate) async fn quiet(&self) -> RwLockWriteGuard<'_, ()> {
        self.requests.write().await
    }

    /// How often a model was loaded.
    pub(crate) fn loads(&self) -> u64 {
        self.state.borrow().loads
    }

    /// The engine was away: what was loaded is gone.
    pub(crate) fn mark_stale(&self) {
        self.state.send_modify(|state| {
            if let Some(active) = &mut state.active {
                active.stale = true;
            }
        });
    }

    /// What is loaded is to be unloaded and loaded anew before the next request.
    pub(crate) fn recycle(&self) {
        self.state.send_modify(|state| {
            if let Some(active) = &mut state.active {
                (active.stale, active.unload) = (true, true);
            }
        });
    }

    /// The engine cannot run `model`: all that wait for it are told, and nobody asks
    /// again for a while.
    pub(crate) fn refuse(&self, model: &str, failure: Failure) {
        self.refuse_from(model, 0, failure, self.refuse_for);
    }

    /// The same with a context of so many tokens or more, for so long.
    pub(crate) fn refuse_from(&self, model: &str, context: u64, failure: Failure, lasts: Duration) {
        self.state.send_modify(|state| state.refused.insert(model, context, failure, lasts));
    }

    /// Whether `model` is not asked for now, whatever its context.
    pub(crate) fn refuses(&self, model: &str) -> bool {
        self.state.borrow().refused.has(model)
    }

    /// Models that are not asked for now.
    pub(crate) fn refused(&self) -> Vec<Refused> {
        self.state.borrow().refused.all()
    }

    fn queue(&self, need: Need) -> Queued<'_> {
        let mut number = 0;
        self.state.send_modify(|state| {
            number = state.next_ticket;
            state.next_ticket += 1;
            state.queue.push_back(Ticket { number, need: need.clone() });
        });
        Queued { gate: self, number, need }
    }

    fn pass(&self, number: u64) -> Option<Pass<'_>> {
        let mut pass = None;
        self.state.send_if_modified(|state| {
            let (Turn::Enter, Some(active)) = (state.turn(number), &state.active) else { return false };
            pass = Some(Pass { gate: self, model: active.model.clone(), set: active.set });
            state.inside += 1;
            state.queue.retain(|ticket| ticket.number != number);
            true
        });
        pass
    }

    fn begin_load(&self, number: u64) -> Option<Loading<'_>> {
        let won = self.state.send_if_modified(|state| {
            let won = matches!(state.turn(number), Turn::Load);
            state.loading |= won;
            won
        });
        won.then_some(Loading { gate: self })
    }

    /// If what was loaded has to be loaded again: whether to unload it before.
    fn is_stale(&self) -> Option<bool> {
        let state = self.state.borrow();
        state.active.as_ref().filter(|active| active.stale).map(|active| active.unload)
    }
}

/// A place in the queue; left when dropped.
struct Queued<'a> {
    gate: &'a Gate,
    number: u64,
    need: Need,
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.gate.state.send_if_modified(|state| {
            let before = state.queue.len();
            state.queue.retain(|ticket| ticket.number != self.number);
            state.queue.len() != before
        });
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.gate.state.send_modify(|state| state.inside -= 1);
    }
}
