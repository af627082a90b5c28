//! Other clients of the engine: seen in what it is loaded with, and in what it runs.

use super::Unit;
use crate::engine::{Description, same_model};

/// Subjects of notes.
const LOADED: &str = "foreign load";
const REQUESTS: &str = "foreign requests";

// === impl Unit ===

impl Unit {
    /// Says so if somebody else uses the engine.
    pub(super) async fn look_for_others(&self) {
        self.note(LOADED, self.health.said(|said| self.loaded_by_others(said)));
        let before = self.traffic.len();
        let Some(runs) = self.engine.requests().await else { return };
        let ours = before.max(self.traffic.len());
        let others = (runs as usize).saturating_sub(ours);
        let note = format!("other clients use it: it has {runs} requests, of which {ours} are Caravan's");
        self.note(REQUESTS, (others > 0).then_some(note));
    }

    /// What it is loaded with, if that is not what this process loaded.
    fn loaded_by_others(&self, description: &Description) -> Option<String> {
        let (model, set) = self.gate.present()?;
        let mut loaded = description.models.iter().filter_map(|known| Some((known, known.loaded?)));
        loaded.find_map(|(known, loaded)| {
            if !same_model(&known.name, &model) {
                return Some(format!("other clients use it: {} is loaded beside {model}", known.name));
            }
            // Smaller only: a context that is padded up is still the one that was asked for.
            let smaller = 0 < loaded.context && loaded.context < set.context;
            let capped = known.max_context.is_some_and(|most| loaded.context >= most);
            (smaller && !capped).then(|| {
                format!(
                    "other clients use it: {model} is loaded with a context of {} and not {}",
                    loaded.context, set.context
                )
            })
        })
    }

    fn note(&self, subject: &'static str, note: Option<String>) {
        match note {
            Some(note) => {
                if self.notes.set(subject, note.clone()) {
                    tracing::warn!(engine = &*self.id, note);
                }
            }
            None => {
                if self.notes.clear(subject) {
                    tracing::info!(engine = &*self.id, subject, "no longer seen");
                }
            }
        }
    }
}
