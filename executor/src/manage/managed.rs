//! A managed engine as all others see it: how it is started, in which life it is, how the last one
//! ended.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};

use super::{Error, Launch, ManagedOptions, Program, Running, death::Cause};

/// An engine that the executor starts. Its supervisor does what is asked for here.
#[derive(Debug)]
pub(crate) struct Managed {
    program: Program,
    state: watch::Sender<State>,
}

/// One life of its process, counted from 1.
pub(super) type Life = u64;

/// Why it is to be started anew, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Demand {
    pub(super) why: String,
    /// At once: what is in flight will not end.
    pub(super) at_once: bool,
}

#[derive(Debug)]
struct State {
    launch: Launch,
    demand: Option<Demand>,
    /// The last life.
    life: Life,
    /// In it, while it lasts: as many requests as it has slots.
    slots: Option<Arc<Semaphore>>,
    /// How the last life that ended did, or the one that is being ended will.
    ended: Option<(Life, Cause)>,
    /// What a person should know while it does not answer.
    doing: String,
    /// Why it was started anew last.
    last_end: String,
}

// === impl Managed ===

impl Managed {
    /// Of `program`, to be started as `launch` says.
    pub(crate) fn new(program: Program, launch: Launch) -> Self {
        let state = State {
            launch,
            demand: None,
            life: 0,
            slots: None,
            ended: None,
            doing: "it is started".into(),
            last_end: String::new(),
        };
        Self { program, state: watch::Sender::new(state) }
    }

    /// How often its process was there so far.
    pub(crate) fn lives(&self) -> u64 {
        self.state.borrow().life
    }

    /// How it is started.
    pub(crate) fn launch(&self) -> Launch {
        self.state.borrow().launch.clone()
    }

    /// Has it started anew, as `launch` says, once no request is in flight. Several demands that
    /// come before are one; the last launch counts.
    pub(crate) fn restart(&self, launch: Launch, why: &str) {
        self.demand(Some(launch), why, false);
    }

    /// Has it started anew at once, because what is in flight will not end. No request is blamed.
    pub(crate) fn restart_at_once(&self, why: &str) {
        self.demand(None, why, true);
    }

    fn demand(&self, launch: Option<Launch>, why: &str, at_once: bool) {
        self.state.send_modify(|state| {
            state.launch = launch.unwrap_or_else(|| state.launch.clone());
            let at_once = at_once || state.demand.as_ref().is_some_and(|demand| demand.at_once);
            state.demand = Some(Demand { why: why.to_owned(), at_once });
        });
    }

    /// What a person should know while it does not answer.
    pub(crate) fn doing(&self) -> String {
        self.state.borrow().doing.clone()
    }

    /// What a person should know of how it ran so far.
    pub(crate) fn note(&self) -> Option<String> {
        let state = self.state.borrow();
        let again = state.life.saturating_sub(1);
        (again > 0).then(|| format!("started anew {again}×, the last time because {}", state.last_end))
    }

    /// How it is to be started now: that meets all demands.
    pub(super) fn begin(&self) -> Launch {
        self.state.send_modify(|state| state.demand = None);
        self.launch()
    }

    /// Starts it.
    pub(super) async fn start(&self, launch: &Launch) -> Result<Running, Error> {
        self.program.start(launch).await
    }

    /// How it is configured.
    pub(super) fn options(&self) -> &ManagedOptions {
        self.program.options()
    }

    /// It runs, started as `launch` says.
    pub(super) fn began(&self, launch: &Launch) {
        self.state.send_modify(|state| {
            state.life += 1;
            state.slots = Some(Arc::new(Semaphore::new(launch.slots as usize)));
            state.doing.clear();
        });
    }

    /// Its life ends, or has ended, from this `cause`.
    pub(super) fn ends(&self, cause: Cause, why: &str) {
        self.state.send_modify(|state| {
            state.ended = Some((state.life, cause));
            state.slots = None;
            state.doing = format!("{why}; it is started anew");
            why.clone_into(&mut state.last_end);
        });
    }

    /// It does not start.
    pub(super) fn failed(&self, error: &Error) {
        self.state.send_modify(|state| state.doing = format!("it does not start: {error}"));
    }

    /// Waits for a demand that is `at_once` or may be any.
    pub(super) async fn demanded(&self, only_at_once: bool) -> Demand {
        let wanted = |state: &State| state.demand.as_ref().is_some_and(|d| d.at_once || !only_at_once);
        let mut changes = self.state.subscribe();
        loop {
            let changed = changes.wait_for(wanted).await;
            // The sender lives in self, so this is the first turn's.
            if let Ok(Some(demand)) = changed.map(|state| state.demand.clone()) {
                return demand;
            }
        }
    }

    /// Its life and the slots in it, if it runs.
    pub(super) fn life(&self) -> Option<(Life, Arc<Semaphore>)> {
        let state = self.state.borrow();
        state.slots.clone().map(|slots| (state.life, slots))
    }

    /// Why `life` ended, if it did or does within `patience`.
    pub(super) async fn cause(&self, life: Life, patience: Duration) -> Option<Cause> {
        let ended = |state: &State| state.ended.is_some_and(|(ended, _)| ended >= life);
        let mut changes = self.state.subscribe();
        let state = timeout(patience, changes.wait_for(ended)).await.ok()?.ok()?;
        state.ended.map(|(_, cause)| cause)
    }
}
