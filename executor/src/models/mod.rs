//! Getting models for engines: one at a time each, when a planner asks.

mod errands;
mod fetch;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use caravan_proto::v1::{ModelProgress, ensure_model_response::State};
use tokio::time::{Instant, sleep_until};

use crate::{
    engine::{
        Failure,
        acquire::{Stage, Step},
        same_model,
    },
    ledger::Ledger,
    unit::Unit,
};
pub(crate) use errands::{Errands, Order};
use fetch::Fetch;
pub(crate) use fetch::Planners;

/// Digits of a digest that are shown.
const SHOWN: usize = 12;

/// Gets models for one engine.
#[derive(Debug)]
pub(crate) struct Getter {
    pub(crate) unit: Arc<Unit>,
    pub(crate) errands: Arc<Errands>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) planners: Planners,
    /// How long an engine may make no progress.
    pub(crate) silence: Duration,
}

/// What is heard of a job, and when last.
#[derive(Clone)]
struct Pulse {
    errands: Arc<Errands>,
    engine: Arc<str>,
    heard: Arc<Mutex<Instant>>,
}

// === impl Getter ===

impl Getter {
    /// Does what planners ask for, as long as it is polled.
    pub(crate) async fn serve(self) {
        loop {
            let order = self.errands.next(&self.unit.id).await;
            tracing::info!(engine = &*self.unit.id, model = order.model, "getting a model");
            let end = self.ensure(&order).await;
            match &end {
                Ok(digest) => {
                    tracing::info!(engine = &*self.unit.id, model = order.model, digest, "model is there")
                }
                Err(why) => {
                    tracing::warn!(engine = &*self.unit.id, model = order.model, why, "model not had")
                }
            }
            self.errands.end(&self.unit.id, end);
        }
    }

    /// Makes the engine have the model: its digest, or a sentence.
    async fn ensure(&self, order: &Order) -> Result<String, String> {
        let before = self.digest(&order.model).await?;
        if let Some(digest) = before.as_ref().filter(|_| !order.replace) {
            return match &order.file {
                None => Ok(digest.clone()),
                Some(file) if file.digests.contains(digest) => Ok(digest.clone()),
                Some(_) => Err(format!(
                    "{} stands for another model here (digest {}): replace it (--replace), or choose another name",
                    order.model,
                    short(digest)
                )),
            };
        }
        // What a name stands for must not change under a chunk.
        let kept_off = self.unit.gate.keep_off(&order.model);
        kept_off.quiet().await;
        self.get(order).await.map_err(|failure| failure.message)?;
        let after = self.digest(&order.model).await?;
        drop(kept_off);
        after.ok_or_else(|| "the engine says that it is done, but does not list the model".to_owned())
    }

    async fn get(&self, order: &Order) -> Result<(), Failure> {
        let pulse = Pulse::new(self);
        let told = |step: Step| pulse.step(step);
        let engine = &self.unit.engine;
        let work = async {
            let Some(file) = &order.file else { return engine.pull(&order.model, &told).await };
            let (beat, total) = (pulse.clone(), file.bytes);
            let fetch = Fetch {
                planners: self.planners.clone(),
                file: file.clone(),
                arrived: Arc::new(move |completed| beat.transferring(completed, total)),
            };
            engine.import(&order.model, &fetch, &told).await
        };
        tokio::select! {
            done = work => done,
            () = pulse.stopped(self.silence) => Err(Failure::silent(self.silence)),
        }
    }

    /// The digest of a model as the engine says now; lanes and planner hear of it, too.
    async fn digest(&self, model: &str) -> Result<Option<String>, String> {
        let models = self
            .unit
            .look(&self.ledger)
            .await
            .map_err(|failure| format!("the engine does not answer: {}", failure.message))?;
        Ok(models.into_iter().find(|known| same_model(&known.name, model)).map(|known| known.digest))
    }
}

fn short(digest: &str) -> &str {
    digest.get(..SHOWN).unwrap_or(digest)
}

// === impl Pulse ===

impl Pulse {
    fn new(getter: &Getter) -> Self {
        let heard = Arc::new(Mutex::new(Instant::now()));
        Self { errands: Arc::clone(&getter.errands), engine: Arc::clone(&getter.unit.id), heard }
    }

    fn step(&self, step: Step) {
        let state = match step.stage {
            Stage::Transfer => State::Transferring,
            Stage::Import => State::Importing,
        };
        self.tell(state, step.message, step.completed, step.total);
    }

    fn transferring(&self, completed: u64, total: u64) {
        self.tell(State::Transferring, "fetching the file".to_owned(), completed, total);
    }

    fn tell(&self, state: State, message: String, completed: u64, total: u64) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let progress = ModelProgress {
            state: state.into(),
            message,
            completed_bytes: bytes(completed),
            total_bytes: bytes(total),
            ..Default::default()
        };
        self.errands.report(&self.engine, progress);
    }

    /// Waits until nothing was heard for so long.
    async fn stopped(&self, silence: Duration) {
        loop {
            let end = *self.heard.lock().unwrap_or_else(PoisonError::into_inner) + silence;
            if end <= Instant::now() {
                return;
            }
            sleep_until(end).await;
        }
    }
}
