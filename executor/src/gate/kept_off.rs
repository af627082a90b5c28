//! Keeping everybody off a model whose name is about to stand for another.

use std::time::Duration;

use super::Gate;
use crate::engine::{Class, Failure, bare, same_model};

/// A model that is being replaced is refused for no longer, whatever becomes of that: no replacement
/// takes a day.
const REPLACING: Duration = Duration::from_secs(24 * 3600);

/// Nobody uses a model; over when dropped. What made it unusable before may be mended then.
#[derive(Debug)]
pub(crate) struct KeptOff<'a> {
    gate: &'a Gate,
    model: String,
}

// === impl Gate ===

impl Gate {
    /// Keeps everybody off `model` until what is given is dropped: what its name stands for is about to
    /// change.
    pub(crate) fn keep_off(&self, model: &str) -> KeptOff<'_> {
        let kept_off = KeptOff { gate: self, model: bare(model).to_owned() };
        let failure =
            Failure::own(Class::Model, "model_replaced", format!("model {model} is being replaced"));
        self.refuse_from(model, 0, failure, REPLACING);
        kept_off
    }
}

// === impl KeptOff ===

impl KeptOff<'_> {
    /// Waits until no request is in flight on the model; whoever comes then finds it refused.
    pub(crate) async fn quiet(&self) {
        let active = self.gate.active().map(|(model, _)| model);
        if active.is_some_and(|active| same_model(&active, &self.model)) {
            drop(self.gate.quiet().await);
        }
    }
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
