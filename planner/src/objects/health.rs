use std::sync::{Arc, Mutex, PoisonError};

use caravan_proto::error::Reason;

use super::Fault;
use crate::metrics;

/// Whether objects can be written, as the last attempt showed. Said once per change.
#[derive(Debug, Clone, Default)]
pub(super) struct Health {
    trouble: Arc<Mutex<Option<Trouble>>>,
}

/// Why nothing can be written, until somebody does something about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// STORAGE_FULL or STORAGE_DENIED.
    pub reason: Reason,
    /// The way out.
    pub advice: String,
    /// Bytes of the write that failed last.
    pub(super) bytes: usize,
}

// === impl Health ===

impl Health {
    /// What the last write showed.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Bytes were kept.
    pub(super) fn written(&self) {
        if let Some(before) = self.set(None) {
            metrics::unwritable(before.reason, false);
            tracing::info!(reason = before.reason.as_str(), "objects can be written again");
        }
    }

    /// Bytes were not kept. Where the store does not answer, nothing is known.
    pub(super) fn failed(&self, fault: &Fault, bytes: usize) {
        let Some(reason) = fault.reason().filter(|reason| *reason != Reason::ObjectDamaged) else { return };
        let before = self.set(Some(Trouble { reason, advice: fault.advice(), bytes }));
        if before.as_ref().is_some_and(|before| before.reason == reason) {
            return;
        }
        if let Some(before) = before {
            metrics::unwritable(before.reason, false);
        }
        metrics::unwritable(reason, true);
        let error: &dyn std::error::Error = fault;
        tracing::error!(error, reason = reason.as_str(), "no object can be written: {}", fault.advice());
    }

    fn set(&self, trouble: Option<Trouble>) -> Option<Trouble> {
        std::mem::replace(&mut *self.trouble.lock().unwrap_or_else(PoisonError::into_inner), trouble)
    }
}
