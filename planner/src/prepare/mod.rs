//! From upload to chunks: validate every line, plan, write payloads and rows. What is
//! cut off in the middle is begun anew: a batch is only ever planned as a whole.

mod capacity;
mod count;
mod draw;
mod holders;
mod offline;
mod options;
mod payload;
mod preview;
mod reject;
mod retry;
mod scan;
mod spec;
mod stage;

pub use capacity::Capacity;
pub use offline::{Offline, Unplanned};
pub use options::Options;
pub use retry::{CANCELLED, EXPIRED, bit, may_have};
pub use spec::{check as check_spec, deadline};
pub use stage::Preparer;

use crate::{files, objects, results, store};

/// Why a batch could not be prepared; the batch itself is not at fault.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Rows.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Bytes.
    #[error(transparent)]
    Objects(#[from] objects::Error),
    /// The input or the error file.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// Segments of rejected lines.
    #[error(transparent)]
    Results(#[from] results::Error),
    /// The planner's own limits contradict each other.
    #[error("the planning limits cannot be used")]
    Plan(#[from] caravan_plan::Error),
    /// The defaults of the batch, which were checked when it was created.
    #[error(transparent)]
    Defaults(#[from] caravan_request::DefaultsError),
    /// A line does not read as it did before.
    #[error("line {line} of the input has changed since it was validated")]
    Changed {
        /// Which.
        line: u32,
    },
    /// A line does not read as it did before, or the planner miscounts.
    #[error("the input does not read as it did when it was validated")]
    Inconsistent,
    /// The planner stops.
    #[error("the planner stops")]
    Stopped,
}

// === impl Error ===

impl Error {
    /// Whether no further try would end otherwise.
    fn is_final(&self) -> bool {
        matches!(self, Self::Plan(_) | Self::Changed { .. } | Self::Inconsistent | Self::Defaults(_))
    }
}
