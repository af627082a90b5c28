//! Taking everything off an engine.

use super::{Gate, load::Loading};
use crate::engine::{Failure, Model};

// === impl Gate ===

impl Gate {
    /// Whether nobody is inside, and nothing is loaded just now.
    pub(crate) fn is_idle(&self) -> bool {
        self.state.borrow().is_idle()
    }

    /// Unloads whatever the engine has loaded, for whomever, and gives the models as they were loaded.
    /// Nobody enters meanwhile. Nothing happens while somebody is inside.
    ///
    /// # Errors
    /// If the engine does not say what it has loaded.
    pub(crate) async fn evict(&self) -> Result<Vec<Model>, Failure> {
        let Some(_alone) = self.begin_evicting() else { return Ok(Vec::new()) };
        let mut evicted = self.engine.describe().await?.models;
        evicted.retain(|model| model.loaded.is_some());
        for model in &evicted {
            // Within bounds: what others use stays, and the next reading tells.
            self.unload(&model.name).await;
        }
        Ok(evicted)
    }

    /// The engine for somebody who loads it as he likes: nobody enters until what is given is dropped, and
    /// what is needed then is loaded anew. None while somebody is inside, or a load is under way.
    pub(crate) fn hold(&self) -> Option<impl Sized + '_> {
        self.begin_evicting()
    }

    fn begin_evicting(&self) -> Option<Loading<'_>> {
        let won = self.state.send_if_modified(|state| {
            let won = state.is_idle();
            if won {
                (state.loading, state.active) = (true, None);
            }
            won
        });
        won.then_some(Loading { gate: self })
    }
}
