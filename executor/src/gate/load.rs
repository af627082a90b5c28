//! Loads: the only place that changes what an engine is loaded with.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{Active, Gate, Need, Pass};
use crate::{
    engine::{Class, Failure, ReloadSet, same_model},
    metrics,
};

/// A load under way; others wait for it until it is dropped.
pub(super) struct Loading<'a> {
    pub(super) gate: &'a Gate,
}

// === impl Gate ===

impl Gate {
    /// Loads the active set again if the engine was away. The caller is alone.
    pub(super) async fn refresh(&self, pass: &Pass<'_>) -> Result<(), Failure> {
        let Some(unload) = self.is_stale() else { return Ok(()) };
        if unload {
            self.unload(&pass.model).await;
        }
        // No request is to blame, so none loses a try.
        let waits = |failure: Failure| match failure.class {
            Class::Retry => Failure { class: Class::Bystander, ..failure },
            _ => failure,
        };
        self.load(&pass.model, pass.set).await.map_err(waits)?;
        self.state.send_modify(|state| {
            if let Some(active) = &mut state.active {
                (active.stale, active.unload) = (false, false);
            }
        });
        Ok(())
    }

    /// Unloads within bounds; what does not come off is loaded over.
    pub(super) async fn unload(&self, model: &str) {
        match timeout(self.unload_within, self.engine.unload(model)).await {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => tracing::warn!(model, %failure, "not unloaded"),
            Err(_) => tracing::warn!(model, within = ?self.unload_within, "not unloaded in time"),
        }
    }

    /// Loads. What would be a request's fault is the model's here, and a death is worth
    /// another try; an engine that is too busy to load is waited for.
    async fn load(&self, model: &str, set: ReloadSet) -> Result<(), Failure> {
        self.state.send_modify(|state| state.tried = Some((model.to_owned(), set)));
        let start = Instant::now();
        let mut loaded = self.engine.load(model, set).await;
        if loaded.as_ref().is_err_and(|failure| failure.code == Failure::LOAD_OUT_OF_MEMORY)
            && self.evict_all_but(model).await
        {
            loaded = self.engine.load(model, set).await;
        }
        let elapsed = start.elapsed();
        metrics::loaded(loaded.is_ok(), elapsed);
        let loaded = loaded.map_err(of_a_load);
        match &loaded {
            Ok(()) => {
                tracing::info!(model, context = set.context, batch = set.batch, ?elapsed, "loaded");
                self.loaded_in(elapsed);
            }
            Err(failure) => {
                tracing::warn!(model, context = set.context, class = ?failure.class, code = failure.code, "load failed");
                if failure.class == Class::Model {
                    // A smaller context may still fit.
                    let memory = failure.code == Failure::LOAD_OUT_OF_MEMORY;
                    let from = if memory { set.context } else { 0 };
                    self.refuse_from(model, from, failure.clone(), self.refuse_for);
                }
            }
        }
        loaded
    }

    /// Unloads every other model: this engine is driven with one at a time. True if there was one.
    async fn evict_all_but(&self, model: &str) -> bool {
        let models = self.engine.describe().await.map_or_else(|_| Vec::new(), |described| described.models);
        let others = models.iter().filter(|known| known.loaded.is_some() && !same_model(&known.name, model));
        let mut evicted = false;
        for other in others {
            tracing::info!(model = other.name, "unloaded to make room");
            self.unload(&other.name).await;
            evicted = true;
        }
        evicted
    }

    fn loaded_in(&self, time: Duration) {
        self.state.send_modify(|state| {
            state.loads += 1;
            state.load_time = time;
        });
    }
}

fn of_a_load(failure: Failure) -> Failure {
    match failure.class {
        Class::Request => Failure { class: Class::Model, ..failure },
        Class::Suspect => Failure { class: Class::Retry, ..failure },
        Class::Down if failure.code == Failure::TIMEOUT => Failure { code: Failure::LOAD_TIMEOUT, ..failure },
        _ => failure,
    }
}

// === impl Loading ===

impl Loading<'_> {
    /// Loads what suits all that wait. If that needs more memory than there is and this chunk needs
    /// less, it is asked again.
    pub(super) async fn run(self, need: &Need) -> Result<(), Failure> {
        let set = self.gate.state.borrow().wanted(need);
        self.gate.state.send_modify(|state| state.active = None);
        match self.gate.load(&need.model, set).await {
            Ok(()) => {}
            Err(failure) if failure.class == Class::Model => {
                let refused = self.gate.state.borrow().refused.of(need).is_some();
                return if refused { Err(failure) } else { Ok(()) };
            }
            Err(failure) => return Err(failure),
        }
        let active = Active { model: need.model.clone(), set, stale: false, unload: false };
        self.gate.state.send_modify(|state| state.active = Some(active));
        Ok(())
    }
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        self.gate.state.send_modify(|state| state.loading = false);
    }
}
