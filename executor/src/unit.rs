//! One engine as this process drives it.

mod affinity;
mod ask;
mod concurrency;
mod discover;
mod foreign;
mod lanes;
mod learn;
mod notes;
mod overlap;
mod snapshot;
mod tempo;
mod traffic;
mod watch;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use caravan_proto::v1;
use caravan_request::EngineKind;
use tokio::{
    sync::{Notify, watch as latest},
    time::Instant,
};

use crate::{
    engine::{Engine, Failure},
    gate::Gate,
    health::{Health, Life},
    lease::Lease,
    ledger::Ledger,
    manage::{Launch, Managed, Program, Supervised},
    options::{EngineOptions, Limits, Liveness},
    speed::Speed,
};
use affinity::Affinity;
#[cfg(test)]
pub(crate) use ask::PROBE;
use concurrency::Concurrency;
pub(crate) use lanes::Lanes;
pub(crate) use learn::Lesson;
pub(crate) use notes::Notes;
pub(crate) use tempo::{Expected, Tempo, Work};
pub(crate) use traffic::{Blame, Traffic};
use watch::Doubt;

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
    pub(crate) lanes: Lanes,
    pub(crate) traffic: Traffic,
    pub(crate) notes: Notes,
    tempo: Tempo,
    affinity: Affinity,
    concurrency: Mutex<Concurrency>,
    /// Loads that `affinity` and `concurrency` know of.
    loads: Mutex<u64>,
    /// Why it is doubted that requests are answered, if it is.
    doubt: latest::Sender<Option<Doubt>>,
    /// Told when it should answer again.
    again: Notify,
    /// When its model was last loaded anew to mend it.
    mended: Mutex<Option<Instant>>,
    liveness: Liveness,
    max_context: Option<u64>,
}

// === impl Unit ===

impl Unit {
    /// The engine at `place` in the configuration.
    pub(crate) fn new(
        place: usize,
        engine: Arc<dyn Engine>,
        options: &EngineOptions,
        limits: &Limits,
        liveness: Liveness,
    ) -> Self {
        let id: Arc<str> = id(engine.kind(), place).into();
        let program = Program::new(&id, options, Arc::clone(&engine));
        let managed = program.map(|program| Arc::new(Managed::new(program, Launch::of(options))));
        let engine = match &managed {
            Some(managed) => Arc::new(Supervised::new(engine, Arc::clone(managed))),
            None => engine,
        };
        Self {
            id,
            managed,
            gate: Gate::new(Arc::clone(&engine), limits.refuse_model(), liveness.unload()),
            engine,
            health: Health::new(),
            speed: Speed::default(),
            lanes: Lanes::new(options.slots),
            traffic: Traffic::default(),
            notes: Notes::default(),
            tempo: Tempo::default(),
            affinity: Affinity::default(),
            concurrency: Mutex::default(),
            loads: Mutex::default(),
            doubt: latest::Sender::new(None),
            again: Notify::new(),
            mended: Mutex::default(),
            liveness,
            max_context: options.max_context,
        }
    }

    /// Whether requests of a lease may be run: none is once its model is not what its batch is held to.
    pub(crate) fn serves(&self, lease: &Lease) -> bool {
        let model = &lease.payload.model;
        let held = |digest: &String| !self.gate.refuses(model) && self.health.has(model, digest);
        lease.digest.as_ref().is_none_or(held)
    }

    /// It should answer again: no need to wait for the next probe.
    pub(crate) fn look_again(&self) {
        self.again.notify_one();
    }

    /// Its process has ended, or will.
    pub(crate) fn gone(&self, ledger: &Ledger, why: &str) {
        // Of the next one nothing is doubted yet.
        self.doubt.send_replace(None);
        let news = self.health.silent(why);
        self.gate.mark_stale();
        self.down(ledger, news, why);
    }

    /// A request of `life` found the engine down, or did not get an answer in time.
    pub(crate) fn failed(&self, ledger: &Ledger, life: Life, failure: &Failure) {
        match failure.code {
            Failure::TIMEOUT => self.doubted(Doubt::Late),
            Failure::LOAD_TIMEOUT => self.doubted(Doubt::Load),
            _ => {}
        }
        self.down(ledger, self.health.failed(life, &failure.message), &failure.message);
    }

    /// A request was not answered in time: the next one waits until it is known why.
    pub(crate) fn is_late(&self) {
        self.doubted(Doubt::Late);
    }

    fn down(&self, ledger: &Ledger, news: bool, message: &str) {
        if news {
            tracing::warn!(engine = &*self.id, message, "engine does not answer: waiting for it");
            self.gate.mark_stale();
            // It may come back with other slots.
            self.lanes.forget();
            ledger.set_up(&self.id, false);
        }
    }

    /// How long `work` may take on `model`; none while too little is known of its speed.
    pub(crate) fn expected(&self, model: &str, work: Work) -> Option<Expected> {
        let Expected { usual, longest } = self.tempo.expected(model, work)?;
        // Whoever else uses the engine may make it load in between.
        let allowed = |time| self.liveness.allowed(time, self.gate.load_time());
        Some(Expected { usual: allowed(usual), longest: allowed(longest) })
    }

    /// What answers requests for `model` now.
    pub(crate) fn provenance(&self, model: &str) -> v1::Provenance {
        self.health.said(|said| v1::Provenance {
            engine_version: said.version.clone(),
            model_digest: said.model(model).map_or_else(String::new, |known| known.digest.clone()),
        })
    }

    /// The context of one slot that `model` is loaded with, in tokens, as the engine says.
    pub(crate) fn loaded_context(&self, model: &str) -> Option<u64> {
        let loaded = self.health.said(|said| said.model(model)?.loaded)?;
        (loaded.context > 0).then_some(loaded.context)
    }

    /// Whether the model may be loaded anew now to mend its engine; from now on not for a while.
    fn may_mend(&self) -> bool {
        let mut mended = self.mended.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let may = mended.is_none_or(|last| last.elapsed() >= self.liveness.mend());
        if may {
            *mended = Some(Instant::now());
        }
        may
    }

    /// How long a functional probe may take.
    fn probe_time(&self) -> Duration {
        self.liveness.probe()
    }
}

/// A kind of engine as the contract has it.
pub(crate) fn contract_kind(kind: EngineKind) -> v1::engine::Kind {
    match kind {
        EngineKind::Ollama => v1::engine::Kind::Ollama,
        EngineKind::OpenAi => v1::engine::Kind::Openai,
    }
}

/// `Engine.id` of the engine at `place` in the configuration.
pub(crate) fn id(kind: EngineKind, place: usize) -> String {
    let name = match kind {
        EngineKind::Ollama => "ollama",
        EngineKind::OpenAi => "openai",
    };
    format!("{name}-{place}")
}
