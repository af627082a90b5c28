//! The engine under calibration, and which of its settings can be changed.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use caravan_request::EngineKind;

use crate::engine::{Engine, Failure, ReloadSet};

/// How an engine runs a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Setting {
    /// Requests in parallel.
    pub(crate) slots: u32,
    /// Context of a slot, in tokens; 0: the engine's own.
    pub(crate) context: u64,
    /// Prompt tokens evaluated at once; 0: the engine's own.
    pub(crate) batch: u64,
}

/// An engine that can be set, as far as that goes.
#[async_trait]
pub(crate) trait Stage: Send + Sync + fmt::Debug {
    /// The engine as it runs now.
    fn engine(&self) -> Arc<dyn Engine>;

    /// The numbers of slots that it can be run with, ascending, never empty: one if they are fixed.
    fn slots(&self) -> Vec<u32>;

    /// Whether its context can be set.
    fn sets_context(&self) -> bool;

    /// Runs the model with exactly this setting.
    async fn set(&mut self, model: &str, setting: Setting) -> Result<(), Failure>;

    /// Gives back what the calibration took.
    async fn leave(&mut self, model: &str) -> Result<(), Failure>;
}

/// An engine that somebody else started: its slots are what they are.
#[derive(Debug)]
pub(crate) struct Attached {
    engine: Arc<dyn Engine>,
    slots: u32,
    /// Whether the model was loaded before.
    was_loaded: bool,
}

// === impl Setting ===

impl Setting {
    pub(crate) fn reload_set(self) -> ReloadSet {
        ReloadSet { context: self.context, batch: self.batch, embedding: false }
    }
}

// === impl Attached ===

impl Attached {
    /// `slots` are those that it was started with; `was_loaded` tells whether the model was there before.
    pub(crate) fn new(engine: Arc<dyn Engine>, slots: u32, was_loaded: bool) -> Self {
        Self { engine, slots: slots.max(1), was_loaded }
    }
}

#[async_trait]
impl Stage for Attached {
    fn engine(&self) -> Arc<dyn Engine> {
        Arc::clone(&self.engine)
    }

    fn slots(&self) -> Vec<u32> {
        vec![self.slots]
    }

    fn sets_context(&self) -> bool {
        self.engine.kind() == EngineKind::Ollama
    }

    async fn set(&mut self, model: &str, setting: Setting) -> Result<(), Failure> {
        self.engine.load(model, setting.reload_set()).await
    }

    /// A model that was not loaded before is not left behind: it was loaded to stay.
    async fn leave(&mut self, model: &str) -> Result<(), Failure> {
        if self.was_loaded { Ok(()) } else { self.engine.unload(model).await }
    }
}
