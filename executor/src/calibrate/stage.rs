//! The engine under calibration, and which of its settings can be changed.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use caravan_request::EngineKind;

use crate::{
    engine::{Description, Engine, Failure, ReloadSet, same_model},
    options::Slots,
};

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
    /// Makes sure that it answers, and says what it is.
    async fn open(&mut self, model: &str) -> Result<Description, Failure>;

    /// The engine as it runs now.
    fn engine(&self) -> Arc<dyn Engine>;

    /// The numbers of slots that it can be run with, ascending, never empty: one if they are fixed.
    fn slots(&self) -> Vec<u32>;

    /// Its slots are taken for one, because nobody says how many they are.
    fn is_assumed(&self) -> bool;

    /// Never runs it with the most slots again; false if there are no fewer.
    fn take_fewer(&mut self) -> bool;

    /// Whether its context can be set.
    fn sets_context(&self) -> bool;

    /// Type of its KV cache, empty if not known, and whether it keeps the whole cache of sliding windows.
    fn cache(&self) -> (String, bool);

    /// Runs the model with exactly this setting.
    async fn set(&mut self, model: &str, setting: Setting) -> Result<(), Failure>;

    /// Gives back what the calibration took.
    async fn leave(&mut self, model: &str) -> Result<(), Failure>;
}

/// An engine that somebody else started: its slots are what they are.
#[derive(Debug)]
pub(crate) struct Attached {
    engine: Arc<dyn Engine>,
    stated: Slots,
    /// As it says.
    said: Option<u32>,
    /// Whether the model was loaded before.
    was_loaded: bool,
    cache: (String, bool),
}

// === impl Setting ===

impl Setting {
    pub(crate) fn reload_set(self) -> ReloadSet {
        ReloadSet { context: self.context, batch: self.batch, embedding: false }
    }
}

// === impl Attached ===

impl Attached {
    /// `slots` are those that it was started with, if they are not what it says.
    pub(crate) fn new(engine: Arc<dyn Engine>, slots: Slots) -> Self {
        Self { engine, stated: slots, said: None, was_loaded: false, cache: Default::default() }
    }

    /// The same with what `Stage::cache` gives, where that is known.
    pub(super) fn cached_as(self, cache: (String, bool)) -> Self {
        Self { cache, ..self }
    }
}

#[async_trait]
impl Stage for Attached {
    async fn open(&mut self, model: &str) -> Result<Description, Failure> {
        let description = self.engine.describe().await?;
        self.said = description.slots;
        let loaded = description.models.iter().filter(|known| known.loaded.is_some());
        self.was_loaded = loaded.clone().any(|known| model.is_empty() || same_model(&known.name, model));
        Ok(description)
    }

    fn engine(&self) -> Arc<dyn Engine> {
        Arc::clone(&self.engine)
    }

    fn slots(&self) -> Vec<u32> {
        vec![self.stated.or(self.said)]
    }

    fn is_assumed(&self) -> bool {
        self.stated.known(self.said).is_none()
    }

    fn take_fewer(&mut self) -> bool {
        false
    }

    fn sets_context(&self) -> bool {
        self.engine.kind() == EngineKind::Ollama
    }

    fn cache(&self) -> (String, bool) {
        self.cache.clone()
    }

    async fn set(&mut self, model: &str, setting: Setting) -> Result<(), Failure> {
        self.engine.load(model, setting.reload_set()).await?;
        // Ollama does not tell, but the command line of its runner does.
        self.said = self.engine.slots(model).await.or(self.said);
        Ok(())
    }

    /// A model that was not loaded before is not left behind: it was loaded to stay.
    async fn leave(&mut self, model: &str) -> Result<(), Failure> {
        if self.was_loaded { Ok(()) } else { self.engine.unload(model).await }
    }
}
