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
use super::runner::{Grant, KeepAlive, ReloadSet, Runner, Turn, Waiter};

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
    options: Options,
}

#[derive(Debug, Default)]
struct State {
    runner: Option<Runner>,
    /// Requests that need another runner, at most `max_queue`.
    pending: VecDeque<Waiter>,
    loading: bool,
    /// Nobody is served who needs another runner.
    deadlocked: bool,
    runners: u64,
    /// The last runner died, so the next load takes longer.
    died: bool,
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
        Self { state: Mutex::default(), stats, options: options.clone() }
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

    /// The runner stops in the middle of whatever it does, or goes on. One that takes its place runs.
    pub(crate) fn freeze(&self, frozen: bool) {
        if let Some(runner) = &self.lock().runner {
            runner.freeze(frozen);
        }
    }

    /// An eviction that never ends, or its end: the runner goes when it is idle, and everybody who comes
    /// waits for the next one.
    pub(crate) fn deadlock(&self, deadlocked: bool) {
        let mut state = self.lock();
        state.deadlocked = deadlocked;
        if let Some(runner) = state.runner.as_mut().filter(|_| deadlocked) {
            runner.unload = true;
        }
        self.advance(&mut state);
    }

    /// Which slots of the runner are busy, and the context of each, if there is a runner.
    pub(crate) fn busy(&self) -> Option<(Vec<bool>, usize)> {
        let state = self.lock();
        state.runner.as_ref().map(|runner| (runner.slots.busy(), runner.set.context))
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
                Ok(Turn::Died) => return Err(Failure::no_longer_running(self.options.is_v0_33())),
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
        let (queued, deadlocked) = (state.pending.len(), state.deadlocked);
        match &mut state.runner {
            Some(runner) if runner.set == waiter.set && !deadlocked => runner.join(waiter),
            _ if queued >= self.options.max_queue => return Err(Failure::busy()),
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
        while !state.loading && !state.deadlocked {
            let Some(next) = state.pending.pop_front() else { return };
            match &mut state.runner {
                _ if next.turn.is_closed() => {}
                Some(runner) if runner.set == next.set => runner.join(next),
                Some(runner) if !runner.is_idle() => return state.pending.push_front(next),
                runner => {
                    *runner = None;
                    let recovery = if std::mem::take(&mut state.died) { self.options.recovery_ms } else { 0 };
                    let time = Duration::from_millis(self.options.load_ms + recovery);
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
        let runner = state.runner.insert(Runner::new(state.runners, first.set.clone(), &self.options));
        runner.join(first);
    }

    fn give_back(&self, grant: &mut Grant) {
        let mut state = self.lock();
        if let Some(runner) = state.runner.as_mut().filter(|runner| runner.id == grant.runner) {
            runner.give_back(grant, &self.options);
        }
        self.advance(&mut state);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Returns when the runner is not frozen.
    pub(crate) async fn thawed(&self) {
        let mut frozen = self.grant.frozen.clone();
        if frozen.wait_for(|frozen| !*frozen).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The slot is never given back.
    pub(crate) fn lose(&self) {
        let mut state = self.scheduler.lock();
        if let Some(runner) = state.runner.as_mut().filter(|runner| runner.id == self.grant.runner) {
            runner.slots.lose(self.grant.taken.slot);
            self.scheduler.stats.lost_slot();
        }
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
