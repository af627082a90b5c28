//! Models that an engine could not run lately.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::Need;
use crate::engine::{Failure, bare};

/// Refusals by bare name, as all names of a model share its fate; each for a while.
#[derive(Debug, Default)]
pub(super) struct Refusals(HashMap<String, Refusal>);

#[derive(Debug)]
struct Refusal {
    until: Instant,
    failure: Failure,
    /// The smallest context that did not fit, in tokens; 0 if it is not the context that matters.
    from: u64,
}

/// A model that is not asked for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Its bare name.
    pub(crate) model: String,
    /// The engine's own words.
    pub(crate) why: String,
    /// Contexts smaller than this may still fit, in tokens; 0: none does.
    pub(crate) below: u64,
}

// === impl Refusals ===

impl Refusals {
    /// `model` does not run here with a context of `from` tokens or more, with none at all if that is 0.
    pub(super) fn insert(&mut self, model: &str, from: u64, failure: Failure, lasts: Duration) {
        let now = Instant::now();
        self.0.retain(|_, refusal| now < refusal.until);
        let (before, until) =
            self.0.get(bare(model)).map_or((from, now), |before| (before.from, before.until));
        let refusal = Refusal { until: until.max(now + lasts), failure, from: from.min(before) };
        self.0.insert(bare(model).to_owned(), refusal);
    }

    /// `model` may run here again.
    pub(super) fn remove(&mut self, model: &str) {
        self.0.remove(bare(model));
    }

    /// Whether `model` is not to be had with any context.
    pub(super) fn has(&self, model: &str) -> bool {
        let refusal = self.0.get(bare(model)).filter(|refusal| Instant::now() < refusal.until);
        refusal.is_some_and(|refusal| refusal.from == 0)
    }

    /// Why what is needed is not to be had.
    pub(super) fn of(&self, need: &Need) -> Option<&Failure> {
        let refusal = self.0.get(bare(&need.model)).filter(|refusal| Instant::now() < refusal.until)?;
        // What an engine chooses itself is as large as it dares.
        let fits = 0 < need.context && need.context < refusal.from;
        (!fits).then_some(&refusal.failure)
    }

    /// Those that hold now.
    pub(super) fn all(&self) -> Vec<Refused> {
        let now = Instant::now();
        let holding = self.0.iter().filter(|(_, refusal)| now < refusal.until);
        let refused = |(model, refusal): (&String, &Refusal)| Refused {
            model: model.clone(),
            why: refusal.failure.message.clone(),
            below: refusal.from,
        };
        holding.map(refused).collect()
    }
}
