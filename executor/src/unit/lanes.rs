//! How many lanes drive an engine: as many as it runs requests in parallel, where that is known.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::{engine::bare, gate::Pass, options::Slots};

/// Models whose slots are remembered; with more, they are found out anew.
const MOST_MODELS: usize = 64;

/// The lanes of one engine that take work. Their number may differ by model: an engine may run only
/// one request at a time of some kinds.
#[derive(Debug)]
pub(crate) struct Lanes {
    configured: Slots,
    /// 0 until it is known.
    now: watch::Sender<u32>,
    found: Mutex<HashMap<Use, u32>>,
}

/// What an engine is loaded with, as far as its slots depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Use {
    model: String,
    embedding: bool,
}

// === impl Use ===

impl Use {
    /// What `pass` lets in to.
    pub(crate) fn of(pass: &Pass<'_>) -> Self {
        Self { model: bare(&pass.model).to_owned(), embedding: pass.set.embedding }
    }
}

// === impl Lanes ===

impl Lanes {
    /// As configured, until the engine shows that it has fewer slots.
    pub(crate) fn new(configured: Slots) -> Self {
        let now = if let Slots::Fixed(slots) = configured { slots.get() } else { 0 };
        Self { configured, now: watch::Sender::new(now), found: Mutex::default() }
    }

    /// What was configured.
    pub(crate) fn configured(&self) -> Slots {
        self.configured
    }

    /// Lanes that take work now; 0 if that is not known yet.
    pub(crate) fn now(&self) -> u32 {
        *self.now.borrow()
    }

    /// The engine answers, and says or does not say how many slots it has: what to begin with.
    pub(crate) fn begin(&self, said: Option<u32>) -> u32 {
        self.now.send_if_modified(|now| {
            let unknown = *now == 0;
            if unknown {
                *now = self.configured.or(said);
            }
            unknown
        });
        self.now()
    }

    /// Waits until more lanes than `count` take work.
    pub(crate) async fn more_than(&self, count: u32) -> u32 {
        let mut changes = self.now.subscribe();
        loop {
            // The sender lives in self, so this is the first turn's.
            if let Ok(now) = changes.wait_for(|now| *now > count).await {
                return *now;
            }
        }
    }

    /// The slots of a use, where they were found out.
    pub(crate) fn found(&self, wanted: &Use) -> Option<u32> {
        self.lock().get(wanted).copied()
    }

    /// A use has so many slots; so many lanes take work from now on.
    pub(crate) fn set(&self, of: Use, slots: u32) -> u32 {
        let slots = self.configured.at_most(slots);
        let mut found = self.lock();
        if found.len() >= MOST_MODELS {
            found.clear();
        }
        found.insert(of, slots);
        drop(found);
        self.now.send_replace(slots);
        slots
    }

    /// The engine went away: what it had says nothing of what it will have.
    pub(crate) fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Use, u32>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn model(name: &str) -> Use {
        Use { model: name.into(), embedding: false }
    }

    #[test]
    fn what_is_configured_is_a_bound_and_what_the_engine_says_a_beginning() {
        let lanes = Lanes::new("4".parse().unwrap());
        assert_eq!((lanes.now(), lanes.begin(None)), (4, 4));
        assert_eq!((lanes.set(model("a"), 8), lanes.set(model("b"), 1)), (4, 1));
        assert_eq!((lanes.found(&model("a")), lanes.now()), (Some(4), 1));

        let lanes = Lanes::new(Slots::Auto);
        assert!(lanes.now() == 0 && lanes.more_than(0).now_or_never().is_none());
        assert_eq!((lanes.begin(None), lanes.begin(Some(8))), (1, 1), "only at first");
        assert_eq!((lanes.set(model("a"), 300), lanes.set(model("a"), 0)), (256, 1));
        assert_eq!(Lanes::new(Slots::Auto).begin(Some(8)), 8);
    }
}
