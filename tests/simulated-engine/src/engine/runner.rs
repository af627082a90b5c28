//! A loaded model: its slots, and the queue in front of them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::options::Options;
use crate::tokens::Chain;

use super::host_memory::HostMemory;
use super::slots::{Slots, Taken};
use super::window::Window;

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

#[derive(Debug)]
pub(super) struct Runner {
    pub(super) id: u64,
    pub(super) set: ReloadSet,
    pub(super) slots: Slots,
    pub(super) waiting: VecDeque<Waiter>,
    pub(super) dead: CancellationToken,
    pub(super) keep_alive: KeepAlive,
    /// Goes when it is idle.
    pub(super) unload: bool,
    idle_since: Instant,
    frozen: watch::Sender<bool>,
    memory: HostMemory,
}

#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) set: ReloadSet,
    /// `None` only wants the model loaded.
    pub(super) prompt: Option<Arc<Chain>>,
    pub(super) keep_alive: KeepAlive,
    /// When it joined the queue of a runner that is loaded.
    pub(super) joined: Instant,
    pub(super) turn: oneshot::Sender<Turn>,
}

/// What a waiting request is told.
#[derive(Debug)]
pub(super) enum Turn {
    Slot(Grant),
    Loaded,
    Load(Duration),
    Died,
}

/// A slot of a runner, for one request.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) runner: u64,
    pub(super) taken: Taken,
    pub(super) prompt: Arc<Chain>,
    pub(super) dead: CancellationToken,
    pub(super) frozen: watch::Receiver<bool>,
    /// When its runner was there.
    pub(super) joined: Instant,
}

// === impl Runner ===

impl Runner {
    /// With `set` and idle slots.
    pub(super) fn new(id: u64, set: ReloadSet, options: &Options) -> Self {
        let slots = options.slots_for(set.embedding);
        let window = Window::of(options, &set, slots);
        Self {
            id,
            slots: Slots::new(slots, !options.is_v0_33(), window),
            set,
            waiting: VecDeque::new(),
            dead: CancellationToken::new(),
            keep_alive: None,
            unload: false,
            idle_since: Instant::now(),
            frozen: watch::Sender::new(false),
            memory: HostMemory::default(),
        }
    }

    /// Queues a request, and serves it if a slot is idle. The last request's `keep_alive` counts.
    pub(super) fn join(&mut self, mut waiter: Waiter) {
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
            let (dead, frozen) = (self.dead.clone(), self.frozen.subscribe());
            let Some(waiter) = self.waiting.pop_front() else { return };
            let grant = Grant { runner: self.id, taken, prompt, dead, frozen, joined: waiter.joined };
            if waiter.turn.send(Turn::Slot(grant)).is_err() {
                self.slots.put_back(taken.slot);
            }
        }
        self.idle_since = Instant::now();
    }

    /// Takes a slot back, with what its cache holds now, and serves who waits for it.
    pub(super) fn give_back(&mut self, grant: &mut Grant, options: &Options) {
        self.memory.request_ended(options, grant.prompt.len());
        self.slots.give_back(grant.taken.slot, std::mem::take(&mut grant.prompt));
        self.serve();
    }

    pub(super) fn freeze(&self, frozen: bool) {
        self.frozen.send_replace(frozen);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.iter().all(|waiter| waiter.turn.is_closed()) && self.slots.all_idle()
    }

    pub(super) fn is_due(&self) -> bool {
        self.is_idle()
            && (self.unload || self.keep_alive.is_some_and(|stay| self.idle_since.elapsed() >= stay))
    }
}
