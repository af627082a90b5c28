//! The driver of a managed engine: the engine's own, with the knowledge whether its process died.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use caravan_request::EngineKind;
use tokio::sync::Semaphore;

use super::{
    Managed,
    death::{Cause, out_of_memory_kills},
    managed::Life,
};
use crate::engine::acquire::{ModelFile, Progress};
use crate::engine::{Call, Class, Description, Engine, Facts, Failure, ReloadSet, Response, Turn};

/// From a connection that breaks until the end of the process is known, at most: the kernel tells
/// both in the same moment, and a supervisor that is asked to end looks at once.
const NOTICED_WITHIN: Duration = Duration::from_secs(1);
/// Code of a call while there is no process, or another one.
const NOT_RUNNING: &str = "engine_not_running";

/// An engine whose process is the executor's own.
///
/// A request that was in flight when the process ended is judged by why it did (`death::Cause`): it
/// is waited for, and nothing counted, if the executor or somebody else ended it; and the request is
/// a suspect, which runs alone and is quarantined by its second death, if it crashed. Why an Ollama's
/// runner died is known only if it did so while it loaded; otherwise Ollama does not tell, and who was
/// on its slots is a suspect.
#[derive(Debug)]
pub(crate) struct Supervised {
    engine: Arc<dyn Engine>,
    managed: Arc<Managed>,
}

// === impl Supervised ===

impl Supervised {
    /// `engine`, which is the process of `managed`.
    pub(crate) fn new(engine: Arc<dyn Engine>, managed: Arc<Managed>) -> Self {
        Self { engine, managed }
    }

    /// Its life now, and the slots in it. Whoever answers while it has none is not it.
    fn life(&self) -> Result<(Life, Arc<Semaphore>), Failure> {
        let down = || Failure::own(Class::Down, NOT_RUNNING, self.managed.doing());
        self.managed.life().ok_or_else(down)
    }

    /// What a failure in `life` means, given what is known of the process, and how often the kernel
    /// had killed for want of memory before.
    async fn explain(&self, life: Life, kills: Option<i64>, failure: Failure) -> Failure {
        if runner_was_killed(&failure) && kills.is_some() && kills == out_of_memory_kills() {
            return died(Class::Bystander, "engine_runner_died", failure);
        }
        let patience = match failure.class {
            // The engine is there and has judged the request.
            Class::Request if failure.status.is_some() => return failure,
            Class::Down if failure.code == Failure::TIMEOUT => Duration::ZERO,
            Class::Down | Class::Suspect | Class::Retry => NOTICED_WITHIN,
            Class::Request | Class::Model | Class::Bystander => Duration::ZERO,
        };
        match self.managed.cause(life, patience).await {
            None => failure,
            Some(Cause::Asked | Cause::Outside) => died(Class::Down, "engine_ended", failure),
            Some(Cause::Crash) => died(Class::Suspect, "engine_crashed", failure),
        }
    }
}

fn died(class: Class, code: &'static str, failure: Failure) -> Failure {
    Failure::own(class, code, failure.message)
}

/// Whether Ollama says that its runner was killed while it loaded. It is loaded again then, unless
/// the kernel did it for want of memory: that it would do again.
fn runner_was_killed(failure: &Failure) -> bool {
    let signals = ["signal: killed", "signal: terminated", "signal: interrupt", "signal: hangup"];
    failure.class == Class::Model && signals.iter().any(|signal| failure.message.contains(signal))
}

#[async_trait]
impl Engine for Supervised {
    fn kind(&self) -> EngineKind {
        self.engine.kind()
    }

    async fn describe(&self) -> Result<Description, Failure> {
        self.life()?;
        self.engine.describe().await
    }

    async fn load(&self, model: &str, set: ReloadSet) -> Result<(), Failure> {
        let ((life, _), kills) = (self.life()?, out_of_memory_kills());
        match self.engine.load(model, set).await {
            Ok(()) => Ok(()),
            Err(failure) => Err(self.explain(life, kills, failure).await),
        }
    }

    async fn unload(&self, model: &str) -> Result<(), Failure> {
        self.engine.unload(model).await
    }

    async fn facts(&self, model: &str) -> Result<Facts, Failure> {
        self.engine.facts(model).await
    }

    async fn pull(&self, model: &str, progress: Progress<'_>) -> Result<(), Failure> {
        self.engine.pull(model, progress).await
    }

    async fn import(&self, model: &str, file: &dyn ModelFile, progress: Progress<'_>) -> Result<(), Failure> {
        self.engine.import(model, file, progress).await
    }

    async fn slots(&self, model: &str) -> Option<u32> {
        self.engine.slots(model).await
    }

    async fn requests(&self) -> Option<u32> {
        self.engine.requests().await
    }

    /// Waits for a slot where it was started anew with fewer of them than it has lanes.
    async fn run(&self, call: &Call<'_>) -> Result<Response, Failure> {
        let ((life, slots), kills) = (self.life()?, out_of_memory_kills());
        let _slot = slots.acquire().await;
        if self.life()?.0 != life {
            // It waited for a slot of a process that is gone: it has none of the new one's.
            return Err(Failure::own(Class::Down, NOT_RUNNING, "it was started again"));
        }
        match self.engine.run(call).await {
            Ok(response) => Ok(response),
            Err(failure) => Err(self.explain(life, kills, failure).await),
        }
    }

    async fn vocabulary(&self, model: &str) -> Result<Vec<u8>, Failure> {
        self.engine.vocabulary(model).await
    }

    async fn render(&self, model: &str, set: ReloadSet, chat: &[Turn]) -> Result<Option<String>, Failure> {
        self.engine.render(model, set, chat).await
    }
}
