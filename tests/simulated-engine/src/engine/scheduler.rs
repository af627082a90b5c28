//! One runner at a time, its slots, the queue in front of them, and the loads that change it.
//!
//! A request whose reload set is the runner's goes straight to the runner's queue, which is FIFO and has
//! no bound but the connections. Any other waits, at most `max_queue` of them, until the runner has
//! drained: then the first of them loads the model anew.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::options::Options;
use crate::stats::Stats;
use crate::tokens::Chain;

use super::Failure;
use super::slots::{Slots, Taken};

/// Everything whose change makes the engine load the model anew.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ReloadSet {
    pub(crate) model: String,
    /// Of the model as it was when the request came.
    pub(crate) digest: String,
    /// Runs an embedding model, or a chat model as one: such a runner has one slot.
    pub(crate) embedding: bool,
    /// Context of one slot, in tokens.
    pub(crate) context: usize,
    pub(crate) num_batch: Option<i64>,
    pub(crate) num_gpu: Option<i64>,
    pub(crate) main_gpu: Option<i64>,
    pub(crate) use_mmap: Option<bool>,
    pub(crate) num_thread: Option<i64>,
    pub(crate) draft_num_predict: Option<i64>,
    /// On the 0.33 line only: a flag of the runner's command line there.
    pub(crate) shift: Option<bool>,
}

/// How long an idle model stays loaded; `None` is for ever.
pub(crate) type KeepAlive = Option<Duration>;

/// What is loaded, for `/api/ps`.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    pub(crate) set: ReloadSet,
    pub(crate) keep_alive: KeepAlive,
}

#[derive(Debug)]
pub(crate) struct Scheduler {
    state: Mutex<State>,
    stats: Arc<Stats>,
    slots: usize,
    max_queue: usize,
    load: Duration,
    recovery: Duration,
    v0_33: bool,
}

#[derive(Debug, Default)]
struct State {
    runner: Option<Runner>,
    /// Requests that need another runner, at most `max_queue`.
    pending: VecDeque<Waiter>,
    loading: bool,
    runners: u64,
    /// The last runner died, so the next load takes longer.
    died: bool,
}

#[derive(Debug)]
struct Runner {
    id: u64,
    set: ReloadSet,
    slots: Slots,
    waiting: VecDeque<Waiter>,
    dead: CancellationToken,
    keep_alive: KeepAlive,
    idle_since: Instant,
    unload: bool,
}

#[derive(Debug)]
struct Waiter {
    set: ReloadSet,
    /// `None` only wants the model loaded.
    prompt: Option<Arc<Chain>>,
    keep_alive: KeepAlive,
    /// When it joined the queue of a runner that is loaded.
    joined: Instant,
    turn: oneshot::Sender<Turn>,
}

/// What a waiting request is told.
#[derive(Debug)]
enum Turn {
    Slot(Grant),
    Loaded,
    Load(Duration),
    Died,
}

#[derive(Debug)]
struct Grant {
    runner: u64,
    taken: Taken,
    prompt: Arc<Chain>,
    dead: CancellationToken,
    /// When its runner was there.
    joined: Instant,
}

/// A slot, until it is dropped. The slot keeps the prompt in its cache, or what `keep` says.
#[derive(Debug)]
pub(crate) struct Lease {
    scheduler: Arc<Scheduler>,
    grant: Grant,
}

// === impl Scheduler ===

impl Scheduler {
    pub(crate) fn new(options: &Options, stats: Arc<Stats>) -> Self {
        Self {
            state: Mutex::default(),
            stats,
            slots: options.slots,
            max_queue: options.max_queue,
            load: Duration::from_millis(options.load_ms),
            recovery: Duration::from_millis(options.recovery_ms),
            v0_33: options.is_v0_33(),
        }
    }

    /// Waits for a slot of a runner with `set`, loading one where needed.
    ///
    /// # Errors
    /// Too many requests wait for a load, or the runner died while this one waited.
    pub(crate) async fn slot(
        self: &Arc<Self>,
        set: ReloadSet,
        prompt: Arc<Chain>,
        keep_alive: KeepAlive,
    ) -> Result<Lease, Failure> {
        match self.admit(set, Some(prompt), keep_alive).await? {
            Some(lease) => Ok(lease),
            None => Err(Failure::runner_stopped()),
        }
    }

    /// Waits until a runner with `set` is there.
    ///
    /// # Errors
    /// As `slot`.
    pub(crate) async fn load(self: &Arc<Self>, set: ReloadSet, keep_alive: KeepAlive) -> Result<(), Failure> {
        self.admit(set, None, keep_alive).await.map(drop)
    }

    /// Unloads `model` once nothing uses it.
    pub(crate) fn unload(&self, model: &str) {
        let mut state = self.lock();
        if let Some(runner) = state.runner.as_mut().filter(|runner| runner.set.model == model) {
            runner.unload = true;
        }
        self.advance(&mut state);
    }

    /// Kills the runner: whoever is on a slot fails, whoever waits fails in another way.
    pub(crate) fn crash(&self) {
        let mut state = self.lock();
        if let Some(runner) = state.runner.take() {
            state.died = true;
            self.stats.crashed();
            runner.dead.cancel();
            for waiter in runner.waiting {
                let _ = waiter.turn.send(Turn::Died);
            }
        }
        self.advance(&mut state);
    }

    /// What is loaded now.
    pub(crate) fn loaded(&self) -> Option<Loaded> {
        let mut state = self.lock();
        self.advance(&mut state);
        state.runner.as_ref().map(|runner| Loaded { set: runner.set.clone(), keep_alive: runner.keep_alive })
    }

    async fn admit(
        self: &Arc<Self>,
        set: ReloadSet,
        prompt: Option<Arc<Chain>>,
        keep_alive: KeepAlive,
    ) -> Result<Option<Lease>, Failure> {
        let (turn, told) = oneshot::channel();
        self.arrive(Waiter {
            set: set.clone(),
            prompt: prompt.clone(),
            keep_alive,
            joined: Instant::now(),
            turn,
        })?;
        let mut waiting = Waiting { scheduler: self.clone(), told };
        loop {
            match (&mut waiting.told).await {
                Ok(Turn::Slot(grant)) => return Ok(Some(Lease { scheduler: self.clone(), grant })),
                Ok(Turn::Loaded) => return Ok(None),
                Ok(Turn::Died) => return Err(Failure::no_longer_running(self.v0_33)),
                Ok(Turn::Load(time)) => {
                    let loading = Loading { scheduler: self };
                    tokio::time::sleep(time).await;
                    let (turn, told) = oneshot::channel();
                    let joined = Instant::now();
                    let waiter =
                        Waiter { set: set.clone(), prompt: prompt.clone(), keep_alive, joined, turn };
                    waiting.told = told;
                    loading.finish(waiter);
                }
                Err(_) => return Err(Failure::runner_stopped()),
            }
        }
    }

    fn arrive(&self, waiter: Waiter) -> Result<(), Failure> {
        let mut state = self.lock();
        self.advance(&mut state);
        let queued = state.pending.len();
        match &mut state.runner {
            Some(runner) if runner.set == waiter.set => runner.join(waiter),
            _ if queued >= self.max_queue => return Err(Failure::busy()),
            _ => {
                state.pending.push_back(waiter);
                self.advance(&mut state);
            }
        }
        Ok(())
    }

    /// Drops a runner that is due, and serves the pending requests as far as that is possible now.
    fn advance(&self, state: &mut State) {
        if state.runner.as_ref().is_some_and(Runner::is_due) {
            state.runner = None;
        }
        while !state.loading {
            let Some(next) = state.pending.pop_front() else { return };
            match &mut state.runner {
                _ if next.turn.is_closed() => {}
                Some(runner) if runner.set == next.set => runner.join(next),
                Some(runner) if !runner.is_idle() => return state.pending.push_front(next),
                runner => {
                    *runner = None;
                    let recovery =
                        if std::mem::take(&mut state.died) { self.recovery } else { Duration::ZERO };
                    let time = self.load + recovery;
                    if time.is_zero() {
                        self.install(state, next);
                    } else {
                        state.loading = next.turn.send(Turn::Load(time)).is_ok();
                    }
                }
            }
        }
    }

    fn install(&self, state: &mut State, first: Waiter) {
        self.stats.loaded();
        state.runners += 1;
        let slots = if first.set.embedding { 1 } else { self.slots };
        let runner = state.runner.insert(Runner {
            id: state.runners,
            set: first.set.clone(),
            slots: Slots::new(slots, !self.v0_33),
            waiting: VecDeque::new(),
            dead: CancellationToken::new(),
            keep_alive: first.keep_alive,
            idle_since: Instant::now(),
            unload: false,
        });
        runner.join(first);
    }

    fn give_back(&self, grant: &mut Grant) {
        let mut state = self.lock();
        if let Some(runner) = state.runner.as_mut().filter(|runner| runner.id == grant.runner) {
            runner.slots.give_back(grant.taken.slot, std::mem::take(&mut grant.prompt));
            runner.serve();
        }
        self.advance(&mut state);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Runner ===

impl Runner {
    /// Queues a request, and serves it if a slot is idle. The last request's `keep_alive` counts.
    fn join(&mut self, mut waiter: Waiter) {
        self.keep_alive = waiter.keep_alive;
        self.idle_since = Instant::now();
        waiter.joined = self.idle_since;
        if waiter.prompt.is_none() {
            let _ = waiter.turn.send(Turn::Loaded);
            return;
        }
        self.waiting.push_back(waiter);
        self.serve();
    }

    /// Gives idle slots to those who wait, first come first served; who left is skipped.
    fn serve(&mut self) {
        while let Some(prompt) = self.waiting.front().and_then(|waiter| waiter.prompt.clone()) {
            let Some(taken) = self.slots.take(&prompt) else { return };
            let Some(waiter) = self.waiting.pop_front() else { return };
            let grant =
                Grant { runner: self.id, taken, prompt, dead: self.dead.clone(), joined: waiter.joined };
            if waiter.turn.send(Turn::Slot(grant)).is_err() {
                self.slots.put_back(taken.slot);
            }
        }
        self.idle_since = Instant::now();
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.slots.all_idle()
    }

    fn is_due(&self) -> bool {
        self.is_idle()
            && (self.unload || self.keep_alive.is_some_and(|stay| self.idle_since.elapsed() >= stay))
    }
}

// === impl Lease ===

impl Lease {
    /// Tokens of the prompt that the slot's cache held.
    pub(crate) fn cached(&self) -> usize {
        self.grant.taken.cached
    }

    /// When its runner was there: what came after was a wait for a slot.
    pub(crate) fn joined(&self) -> Instant {
        self.grant.joined
    }

    /// Cancelled when the runner dies.
    pub(crate) fn dead(&self) -> &CancellationToken {
        &self.grant.dead
    }

    /// What the slot's cache holds from now on.
    pub(crate) fn keep(&mut self, chain: Chain) {
        self.grant.prompt = Arc::new(chain);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.scheduler.give_back(&mut self.grant);
    }
}

/// A request that waits. One that leaves gives back the slot that it was just given.
struct Waiting {
    scheduler: Arc<Scheduler>,
    told: oneshot::Receiver<Turn>,
}

// === impl Waiting ===

impl Drop for Waiting {
    fn drop(&mut self) {
        self.told.close();
        match self.told.try_recv() {
            Ok(Turn::Slot(mut grant)) => self.scheduler.give_back(&mut grant),
            Ok(Turn::Load(_)) => drop(Loading { scheduler: &self.scheduler }),
            _ => {}
        }
    }
}

/// A load under way. If the request that triggered it leaves, the load is aborted, as with the real thing.
struct Loading<'a> {
    scheduler: &'a Scheduler,
}

// === impl Loading ===

impl Loading<'_> {
    fn finish(self, first: Waiter) {
        let mut state = self.scheduler.lock();
        self.scheduler.install(&mut state, first);
    }
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        let mut state = self.scheduler.lock();
        state.loading = false;
        self.scheduler.advance(&mut state);
    }
}
