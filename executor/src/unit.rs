//! One engine as this process drives it.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use caravan_proto::v1;
use caravan_request::EngineKind;
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use crate::{
    backoff::Backoff,
    engine::{Description, Engine, Model, same_model},
    gate::Gate,
    health::{Health, Life},
    ledger::{AtWork, Ledger},
    manage::{Launch, Managed, Program, Supervised},
    options::{EngineOptions, Limits, Slots},
    speed::Speed,
};

/// An engine with what is known of it: whether it answers, what it is loaded with, how
/// many lanes drive it, how fast it is.
#[derive(Debug)]
pub(crate) struct Unit {
    /// `Engine.id`: its kind and place in the configuration.
    pub(crate) id: Arc<str>,
    pub(crate) engine: Arc<dyn Engine>,
    /// The hold on its process, if that is the executor's own.
    pub(crate) managed: Option<Arc<Managed>>,
    pub(crate) gate: Gate,
    pub(crate) health: Health,
    pub(crate) speed: Speed,
    slots: Slots,
    max_context: Option<u64>,
    /// Lanes, once known: fixed for the life of the process.
    lanes: OnceLock<u32>,
    /// Told when it should answer again.
    again: Notify,
}

// === impl Unit ===

impl Unit {
    /// The engine at `place` in the configuration.
    pub(crate) fn new(
        place: usize,
        engine: Arc<dyn Engine>,
        options: &EngineOptions,
        limits: &Limits,
    ) -> Self {
        let name = match engine.kind() {
            EngineKind::Ollama => "ollama",
            EngineKind::OpenAi => "openai",
        };
        let id: Arc<str> = format!("{name}-{place}").into();
        let program = Program::new(&id, options, Arc::clone(&engine));
        let managed = program.map(|program| Arc::new(Managed::new(program, Launch::of(options))));
        let engine = match &managed {
            Some(managed) => Arc::new(Supervised::new(engine, Arc::clone(managed))),
            None => engine,
        };
        Self {
            id,
            managed,
            gate: Gate::new(Arc::clone(&engine), limits.refuse_model()),
            engine,
            health: Health::new(),
            speed: Speed::default(),
            slots: options.slots,
            max_context: options.max_context,
            lanes: OnceLock::new(),
            again: Notify::new(),
        }
    }

    /// Asks the engine how it is, again and again, for as long as it is polled; lanes and
    /// heartbeat see the answers. `probe` paces it while the engine is silent.
    pub(crate) async fn watch(&self, ledger: &Ledger, every: Duration, mut probe: Backoff) {
        loop {
            match self.engine.describe().await {
                Ok(description) => {
                    probe.reset();
                    self.answered(ledger, description);
                    self.health.down_within(every).await;
                }
                Err(failure) => {
                    self.down(ledger, self.health.silent(&failure.message), &failure.message);
                    let _told = timeout(probe.pause(), self.again.notified()).await;
                }
            }
        }
    }

    /// It should answer again: no need to wait for the next probe.
    pub(crate) fn look_again(&self) {
        self.again.notify_one();
    }

    /// Its process has ended, or will.
    pub(crate) fn gone(&self, ledger: &Ledger, why: &str) {
        let news = self.health.silent(why);
        self.gate.mark_stale();
        self.down(ledger, news, why);
    }

    fn answered(&self, ledger: &Ledger, description: Description) {
        self.lanes.get_or_init(|| self.slots.or(description.slots));
        let was_up = self.health.now().up;
        if self.health.answered(description) {
            if !was_up {
                tracing::info!(engine = &*self.id, "engine answers");
            }
            ledger.set_up(&self.id, true);
        }
    }

    /// A request of `life` found the engine down.
    pub(crate) fn failed(&self, ledger: &Ledger, life: Life, message: &str) {
        self.down(ledger, self.health.failed(life, message), message);
    }

    fn down(&self, ledger: &Ledger, news: bool, message: &str) {
        if news {
            tracing::warn!(engine = &*self.id, message, "engine does not answer: waiting for it");
            self.gate.mark_stale();
            ledger.set_up(&self.id, false);
        }
    }

    /// How many lanes drive it: as configured, or as it said when it first answered.
    pub(crate) async fn lanes(&self) -> u32 {
        if let Slots::Fixed(slots) = self.slots {
            return slots.get();
        }
        self.health.up().await;
        // The watcher sets it just after the engine came up.
        *self.lanes.get_or_init(|| self.slots.or(self.health.now().description.slots))
    }

    /// As the planner sees it. Models that it could not run lately are left out.
    pub(crate) fn snapshot(&self, at_work: &[AtWork]) -> v1::Engine {
        let health = self.health.now();
        let refused = self.gate.refused();
        let usable = |model: &&Model| refused.iter().all(|(name, _)| !same_model(name, &model.name));
        let state = if health.up { v1::engine::State::Ready } else { v1::engine::State::Down };
        let managed = self.managed.as_deref();
        let launch = managed.map(Managed::launch);
        let mut message = health.message;
        for (model, why) in &refused {
            let separator = if message.is_empty() { "" } else { "; " };
            message.push_str(&format!("{separator}model {model} is not usable here: {why}"));
        }
        v1::Engine {
            id: self.id.to_string(),
            kind: match self.engine.kind() {
                EngineKind::Ollama => v1::engine::Kind::Ollama,
                EngineKind::OpenAi => v1::engine::Kind::Openai,
            }
            .into(),
            version: health.description.version,
            slots: int32(self.known_lanes()),
            state: state.into(),
            message,
            models: health.description.models.iter().filter(usable).map(|m| self.model(m)).collect(),
            lanes: at_work.iter().filter(|work| work.lane.engine == self.id).map(lane).collect(),
            tokens_per_second: self.speed.tokens_per_second(Instant::now()),
            managed: managed.is_some(),
            swa_full: launch.as_ref().is_some_and(|launch| launch.swa_full),
            kv_type: launch.and_then(|launch| launch.kv_type).unwrap_or_default(),
            notes: managed.and_then(Managed::note).into_iter().collect(),
            ..Default::default()
        }
    }

    fn known_lanes(&self) -> u32 {
        match self.slots {
            Slots::Fixed(slots) => slots.get(),
            Slots::Auto => self.lanes.get().copied().unwrap_or(0),
        }
    }

    fn model(&self, model: &Model) -> v1::Model {
        let contexts = [model.max_context, self.max_context];
        let loaded = model.loaded.unwrap_or_default();
        v1::Model {
            name: model.name.clone(),
            digest: model.digest.clone(),
            max_context: contexts.into_iter().flatten().min().map_or(0, int64),
            chat: model.chat,
            embedding: model.embedding,
            loaded_context: int64(loaded.context),
            size_bytes: int64(loaded.size),
            size_vram_bytes: int64(loaded.size_vram),
            vocabulary: model.vocabulary.clone(),
            sliding_window: model.sliding_window.map_or(0, int64),
        }
    }
}

fn lane(work: &AtWork) -> v1::Lane {
    v1::Lane {
        index: int32(work.lane.index),
        batch: work.batch.clone(),
        chunk: work.chunk,
        done: int32(work.done),
        total: int32(work.total),
    }
}

/// A count as the contract has it.
fn int32(count: impl TryInto<i32>) -> i32 {
    count.try_into().unwrap_or(i32::MAX)
}

/// A size as the contract has it.
fn int64(size: u64) -> i64 {
    size.try_into().unwrap_or(i64::MAX)
}
