//! An engine that is started for its calibration, with whatever slots.

use std::sync::Arc;

use async_trait::async_trait;
use caravan_request::EngineKind;

use super::stage::{Setting, Stage};
use crate::{
    engine::{Class, Description, Engine, Failure},
    manage::{Error, Launch, Program, Running},
    options::Slots,
};

/// The most slots that are tried where nobody states them: on one H200 an 8B model gains 10 % from 8 to 16,
/// and as little from each doubling after that.
const MOST_SLOTS: u32 = 16;

/// Context of a slot at the first start, before anything is known of the model.
const FIRST_CONTEXT: u64 = 2_048;

/// An engine that this process starts. It is stopped when dropped.
#[derive(Debug)]
pub(crate) struct Owned {
    program: Program,
    engine: Arc<dyn Engine>,
    /// How it was started last.
    launch: Launch,
    running: Option<Running>,
    slots: Vec<u32>,
}

// === impl Owned ===

impl Owned {
    /// `slots` are those that are stated: then no others are tried.
    pub(crate) fn new(program: Program, engine: Arc<dyn Engine>, launch: Launch, slots: Slots) -> Self {
        let slots = match slots {
            Slots::Fixed(slots) => vec![slots.get()],
            Slots::Auto => (0..=MOST_SLOTS.ilog2()).map(|power| 1 << power).collect(),
        };
        Self { program, engine, launch, running: None, slots }
    }

    /// Starts it anew, unless it runs like that.
    async fn start(&mut self, launch: Launch) -> Result<(), Failure> {
        if self.running.is_some() && self.launch == launch {
            return Ok(());
        }
        self.stop().await?;
        self.running = Some(self.program.start(&launch).await.map_err(of_the_model)?);
        self.launch = launch;
        Ok(())
    }

    async fn stop(&mut self) -> Result<(), Failure> {
        match self.running.take() {
            Some(running) => running.stop().await.map_err(of_the_model),
            None => Ok(()),
        }
    }

    /// An Ollama is told context and batch with each load; a llama-server when it starts.
    fn launch_for(&self, setting: Setting) -> Launch {
        let launch = Launch { slots: setting.slots, ..self.launch.clone() };
        match self.engine.kind() {
            EngineKind::Ollama => launch,
            EngineKind::OpenAi => Launch { context: setting.context, batch: setting.batch, ..launch },
        }
    }
}

/// One that does not start so may start otherwise.
fn of_the_model(error: Error) -> Failure {
    Failure::own(Class::Model, "engine_not_started", error.to_string())
}

#[async_trait]
impl Stage for Owned {
    /// With the most slots that it starts with.
    async fn open(&mut self, _: &str) -> Result<Description, Failure> {
        let context = self.launch.context.min(FIRST_CONTEXT);
        loop {
            let slots = self.slots.last().copied().unwrap_or(1);
            match self.start(self.launch_for(Setting { slots, context, batch: self.launch.batch })).await {
                Ok(()) => return self.engine.describe().await,
                Err(failure) if !self.take_fewer() => return Err(failure),
                Err(_) => {}
            }
        }
    }

    fn engine(&self) -> Arc<dyn Engine> {
        Arc::clone(&self.engine)
    }

    fn slots(&self) -> Vec<u32> {
        self.slots.clone()
    }

    fn is_assumed(&self) -> bool {
        false
    }

    fn take_fewer(&mut self) -> bool {
        let fewer = self.slots.len() > 1;
        if fewer {
            self.slots.pop();
        }
        fewer
    }

    fn sets_context(&self) -> bool {
        true
    }

    fn cache(&self) -> (String, bool) {
        (self.launch.kv_type.clone().unwrap_or_default(), self.launch.swa_full)
    }

    async fn set(&mut self, model: &str, setting: Setting) -> Result<(), Failure> {
        self.start(self.launch_for(setting)).await?;
        self.engine.load(model, setting.reload_set()).await
    }

    async fn leave(&mut self, _: &str) -> Result<(), Failure> {
        self.stop().await
    }
}
