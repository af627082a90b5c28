//! Why a calibration gave no profile.

use std::{io, path::PathBuf};

use crate::{
    engine::{self, Failure},
    manage,
};

/// Why a calibration gave no profile. What was measured until then is kept, if there is a directory for it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The engine's address cannot be used.
    #[error("bad engine")]
    Engine(#[from] engine::Error),
    /// The engines of the configuration cannot be told.
    #[error(transparent)]
    Manage(#[from] manage::Error),
    /// There is no such engine in the configuration, or more than one.
    #[error("no engine {id} in the configuration; there are {}", known.join(", "))]
    NoEngine {
        /// What was asked for; empty for the only one.
        id: String,
        /// What there is.
        known: Vec<String>,
    },
    /// It does not answer.
    #[error("the engine does not answer: {0}")]
    Silent(String),
    /// It went away in the middle.
    #[error("the engine failed while {doing}: {message}; what was measured is kept, run it again to go on")]
    Lost {
        /// What was being measured.
        doing: &'static str,
        /// The engine's own sentence, or what happened instead of an answer.
        message: String,
    },
    /// It does not have the model.
    #[error("the engine has no model {model}; it has {}", known.join(", "))]
    NoModel {
        /// What was asked for.
        model: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The model answers no chats.
    #[error("model {0} answers no chats: only models that do are calibrated")]
    NotChat(String),
    /// The model cannot be run as asked.
    #[error("model {model} cannot be calibrated: {message}")]
    Unusable {
        /// Which.
        model: String,
        /// Why.
        message: String,
    },
    /// The state cannot be kept.
    #[error("cannot keep the state in {}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

// === impl Error ===

impl Error {
    /// The engine failed in the middle.
    pub(crate) fn lost(doing: &'static str, failure: &Failure) -> Self {
        Self::Lost { doing, message: failure.message.clone() }
    }
}
