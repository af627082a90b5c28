//! The gate of one engine: which model it is loaded with, and who may use it now.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, watch},
    time::Instant,
};

use crate::{
    engine::{Class, Engine, Failure, ReloadSet, bare, same_model},
    metrics,
};

/// Code of a load that did not end in time.
const LOAD_TIMEOUT: &str = "model_load_timeout";

/// A model that is being replaced is refused for no longer, whatever becomes of that: no replacement
/// takes a day.
const REPLACING: Duration = Duration::from_secs(24 * 3600);

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
}

#[derive(Debug, Default)]
struct State {
    active: Option<Active>,
    inside: usize,
    loading: bool,
    queue: VecDeque<Ticket>,
    next_ticket: u64,
    /// Loads that went well.
    loads: u64,
    /// By bare name: all names of a model share its fate.
    refused: HashMap<String, (Instant, Failure)>,
}

#[derive(Debug)]
struct Active {
    model: String,
    set: ReloadSet,
    /// The engine went away in between: load again before the next request.
    stale: bool,
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

/// Nobody uses a model; over when dropped. What made it unusable before may be mended then.
#[derive(Debug)]
pub(crate) struct KeptOff<'a> {
    gate: &'a Gate,
    model: String,
}

/// The right to have one request in flight; given up when dropped.
#[derive(Debug)]
pub(crate) enum Flight<'a> {
    /// Beside others.
    Shared(#[expect(dead_code, reason = "held for its drop")] RwLockReadGuard<'a, ()>),
    /// Alone on the engine.
    Alone(#[expect(dead_code, reason = "held for its drop")] RwLockWriteGuard<'a, ()>),
}

impl Drop for KeptOff<'_> {
    fn drop(&mut self) {
        self.gate.state.send_modify(|state| {
            state.refused.remove(&self.model);
            if let Some(active) =
                state.active.as_mut().filter(|active| same_model(&active.model, &self.model))
            {
                active.stale = true;
            }
        });
    }
}

impl KeptOff<'_> {
    /// Waits until no request is in flight on the model; whoever comes then finds it refused.
    pub(crate) async fn quiet(&self) {
        let active = self.gate.state.borrow().active.as_ref().map(|active| active.model.clone());
        if active.is_some_and(|active| same_model(&active, &self.model)) {
            drop(self.gate.requests.write().await);
        }
    }
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
        if let Some((until, failure)) = self.refused.get(bare(&need.model))
            && Instant::now() < *until
        {
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

    /// The smallest set that suits every chunk that waits for the same use of this model. Its batch
    /// never shrinks while the model stays: of two needs, one could have the larger context and the
    /// other the larger batch, and they would take turns loading.
    fn wanted(&self, Need { model, embedding, .. }: &Need) -> ReloadSet {
        let waiting = self.queue.iter().map(|ticket| &ticket.need);
        let same = waiting.filter(|need| same_model(&need.model, model) && need.embedding == *embedding);
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
    /// run is not asked for again for `refuse_for`.
    pub(crate) fn new(engine: Arc<dyn Engine>, refuse_for: Duration) -> Self {
        Self { engine, state: watch::Sender::new(State::default()), requests: RwLock::new(()), refuse_for }
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

    /// Whether nothing was loaded that is still there, and nobody waits for it.
    pub(crate) fn is_untouched(&self) -> bool {
        let state = self.state.borrow();
        let loaded = state.active.as_ref().is_some_and(|active| !active.stale);
        !loaded && !state.loading && state.inside == 0 && state.queue.is_empty()
    }

    /// Waits until a request may be sent: at once, unless another runs alone. Loads
    /// again first if the engine was away.
    pub(crate) async fn shared(&self, pass: &Pass<'_>) -> Result<Flight<'_>, Failure> {
        let guard = self.requests.read().await;
        if !self.is_stale() {
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

    /// The engine cannot run `model`: all that wait for it are told, and nobody asks
    /// again for a while.
    pub(crate) fn refuse(&self, model: &str, failure: Failure) {
        let until = Instant::now() + self.refuse_for;
        self.state.send_modify(|state| {
            state.refused.insert(bare(model).to_owned(), (until, failure));
        });
    }

    /// Keeps everybody off `model` until what is given is dropped: what its name stands for is about to
    /// change.
    pub(crate) fn keep_off(&self, model: &str) -> KeptOff<'_> {
        let kept_off = KeptOff { gate: self, model: bare(model).to_owned() };
        let message = format!("model {model} is being replaced");
        let failure =
            Failure { class: Class::Model, code: "model_replaced", message, status: None, body: None };
        self.state.send_modify(|state| {
            state.refused.insert(kept_off.model.clone(), (Instant::now() + REPLACING, failure));
        });
        kept_off
    }

    /// Whether `model` is not asked for now.
    pub(crate) fn refuses(&self, model: &str) -> bool {
        let state = self.state.borrow();
        state.refused.get(bare(model)).is_some_and(|(until, _)| Instant::now() < *until)
    }

    /// Models that are not asked for now, each with the reason.
    pub(crate) fn refused(&self) -> Vec<(String, String)> {
        let now = Instant::now();
        let state = self.state.borrow();
        let refused = state.refused.iter().filter(|(_, (until, _))| now < *until);
        refused.map(|(model, (_, failure))| (model.clone(), failure.message.clone())).collect()
    }

    fn queue(&self, need: Need) -> Queued<'_> {
        let mut number = 0;
        self.state.send_modify(|state| {
            number = state.next_ticket;
            state.next_ticket += 1;
            state.refused.retain(|_, (until, _)| Instant::now() < *until);
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

    fn is_stale(&self) -> bool {
        self.state.borrow().active.as_ref().is_some_and(|active| active.stale)
    }

    /// Loads the active set again if the engine was away. The caller is alone.
    async fn refresh(&self, pass: &Pass<'_>) -> Result<(), Failure> {
        if !self.is_stale() {
            return Ok(());
        }
        // No request is to blame, so none loses a try.
        let waits = |failure: Failure| match failure.class {
            Class::Retry => Failure { class: Class::Bystander, ..failure },
            Class::Down if failure.code == Failure::TIMEOUT => Failure { code: LOAD_TIMEOUT, ..failure },
            _ => failure,
        };
        self.load(&pass.model, pass.set).await.map_err(waits)?;
        self.state.send_modify(|state| {
            if let Some(active) = &mut state.active {
                active.stale = false;
            }
        });
        Ok(())
    }

    /// Loads. What would be a request's fault is the model's here, and a death is worth
    /// another try; an engine that is too busy to load is waited for.
    async fn load(&self, model: &str, set: ReloadSet) -> Result<(), Failure> {
        let start = Instant::now();
        let class = |class| match class {
            Class::Request => Class::Model,
            Class::Suspect => Class::Retry,
            other => other,
        };
        let loaded = self.engine.load(model, set).await;
        let loaded = loaded.map_err(|failure| Failure { class: class(failure.class), ..failure });
        metrics::loaded(loaded.is_ok(), start.elapsed());
        match &loaded {
            Ok(()) => {
                self.state.send_modify(|state| state.loads += 1);
                tracing::info!(model, context = set.context, batch = set.batch, elapsed = ?start.elapsed(), "loaded")
            }
            Err(failure) => {
                tracing::warn!(model, context = set.context, class = ?failure.class, code = failure.code, "load failed");
                if failure.class == Class::Model {
                    self.refuse(model, failure.clone());
                }
            }
        }
        loaded
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

/// A load under way; others wait for it until it is dropped.
struct Loading<'a> {
    gate: &'a Gate,
}

impl Loading<'_> {
    async fn run(self, need: &Need) -> Result<(), Failure> {
        let set = self.gate.state.borrow().wanted(need);
        self.gate.state.send_modify(|state| state.active = None);
        self.gate.load(&need.model, set).await?;
        let active = Active { model: need.model.clone(), set, stale: false };
        self.gate.state.send_modify(|state| state.active = Some(active));
        Ok(())
    }
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        self.gate.state.send_modify(|state| state.loading = false);
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.gate.state.send_modify(|state| state.inside -= 1);
    }
}
