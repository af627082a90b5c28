//! What one replica does at a time.

use std::fmt;

use caravan_proto::name::BatchId;

/// What is done by one replica at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exclusive {
    /// The step of a batch that is due.
    Step(BatchId),
    /// A task of upkeep, by its name.
    Upkeep(&'static str),
}

/// The right to do it, until this is dropped or its holder dies. A holder that loses its database loses it
/// too, and does not hear of it: what is done must bear that another replica begins it anew.
#[must_use = "dropped, it is given up"]
pub struct Guard {
    _held: Box<dyn Send>,
}

// === impl Exclusive ===

impl fmt::Display for Exclusive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(batch) => write!(f, "step of {batch}"),
            Self::Upkeep(task) => write!(f, "upkeep: {task}"),
        }
    }
}

// === impl Guard ===

impl Guard {
    /// Held for as long as `held` is.
    pub(super) fn new(held: impl Send + 'static) -> Self {
        Self { _held: Box::new(held) }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").finish_non_exhaustive()
    }
}
