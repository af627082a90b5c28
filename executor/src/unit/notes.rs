//! What a person should know of how an engine runs now.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// One sentence a subject, while it holds.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    sentences: Mutex<BTreeMap<&'static str, String>>,
}

// === impl Notes ===

impl Notes {
    /// From now on `sentence` holds of `subject`; true if nothing did before.
    pub(crate) fn set(&self, subject: &'static str, sentence: String) -> bool {
        self.lock().insert(subject, sentence).is_none()
    }

    /// Nothing is to be said of `subject` any more; true if something was.
    pub(crate) fn clear(&self, subject: &'static str) -> bool {
        self.lock().remove(subject).is_some()
    }

    /// All of them, in the order of their subjects.
    pub(crate) fn all(&self) -> Vec<String> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.sentences.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
