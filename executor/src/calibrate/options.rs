//! How a calibration is done.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::options::Ceiling;

/// How a calibration is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// How long it may take, in seconds. Default 300: each phase has a part, and what there is no time for is
    /// left out and said so.
    pub budget_seconds: u64,
    /// Whether an executor calibrates a model that has no profile before its first request, while nothing
    /// else runs on the engine. Default false: it keeps the engine from its work for as long as the budget.
    pub first_use: bool,
    /// The VRAM of each GPU that may be in use, by whomever.
    #[serde(skip)]
    pub vram_ceiling: Ceiling,
    /// The largest context of a slot to consider, in tokens; absent: what the model can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_context: Option<u64>,
    /// Where to keep what was measured, so that a run that is cut off goes on where it was; absent: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_dir: Option<PathBuf>,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            budget_seconds: 300,
            first_use: false,
            vram_ceiling: Ceiling::default(),
            max_context: None,
            state_dir: None,
        }
    }
}

impl Options {
    pub(crate) fn budget(&self) -> Duration {
        Duration::from_secs(self.budget_seconds)
    }
}
