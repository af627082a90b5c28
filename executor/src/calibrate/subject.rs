//! What is to be calibrated, and the beginning and end of a run.

use std::{collections::BTreeSet, sync::Arc, time::SystemTime};

use caravan_proto::v1::{self, engine};
use caravan_request::EngineKind;
use tokio::time::Instant;

use super::{
    Error, Options, Phase, Progress,
    attempt::{Attempt, attempt},
    budget::Budget,
    formula::Cache,
    host::{Here, Host},
    identity::Identity,
    log::Log,
    profile::{self, Known},
    room::{self, Others},
    run::Run,
    shelf::Shelf,
    stage::{Attached, Setting, Stage},
    words::Words,
};
use crate::{
    engine::{self as drivers, Class, Description, Engine, Facts, Failure, Model, same_model},
    gpu::{Nvml, Sample},
    options::{EngineOptions, Options as Configuration, Slots},
    service::host_name,
    unit,
};

/// Context of the first load, before anything is known of the model's.
const FIRST_CONTEXT: u64 = 2_048;

/// A model on an engine.
#[derive(Debug)]
pub struct Subject {
    pub(crate) engine: Arc<dyn Engine>,
    /// As the user names it; empty: the only one.
    pub(crate) model: String,
    /// Slots that the engine was started with.
    pub(crate) slots: Slots,
    pub(crate) host: Box<dyn Host>,
    pub(crate) host_name: String,
}

// === impl Configuration ===

impl Configuration {
    /// Calibrates `model` on one of the engines, and keeps the profile where profiles are kept. `engine` is the
    /// id that it has in the fleet; none is the only one.
    ///
    /// # Errors
    /// As [`super::calibrate`], and if there is no such engine.
    pub async fn calibrate(
        &self,
        engine: Option<&str>,
        model: &str,
        progress: &dyn Progress,
    ) -> Result<v1::Profile, Error> {
        let ids = self.engines.iter().enumerate().map(|(place, engine)| unit::id(engine.kind, place));
        let ids: Vec<String> = ids.collect();
        let place = match (engine, self.engines.len()) {
            (Some(engine), _) => ids.iter().position(|id| id == engine),
            (None, 1) => Some(0),
            (None, _) => None,
        };
        let missing = || Error::NoEngine { id: engine.unwrap_or_default().to_owned(), known: ids.clone() };
        let engine = place.and_then(|place| self.engines.get(place)).ok_or_else(missing)?;
        let directory = |source| Error::State { path: self.profiles_dir.clone().unwrap_or_default(), source };
        let shelf = Shelf::open(self.profiles_dir.clone()).map_err(directory)?;
        let mut subject = Subject::attached(engine, self.connection, model)?;
        if let Some(host) = &self.host {
            subject.host_name.clone_from(host);
        }
        let max_context = [self.calibration.max_context, engine.max_context].into_iter().flatten().min();
        let options = Options { vram_ceiling: self.vram_ceiling, max_context, ..self.calibration.clone() };
        let profile = super::calibrate(subject, &options, progress).await?;
        shelf.keep(profile.clone()).map_err(directory)?;
        Ok(profile)
    }
}

// === impl Subject ===

impl Subject {
    /// `model` on the engine that `options` name, which somebody started; an empty name is the only model
    /// that it has. Touches no network.
    ///
    /// # Errors
    /// If the engine's address cannot be used.
    pub fn attached(
        options: &EngineOptions,
        connection: drivers::Options,
        model: &str,
    ) -> Result<Self, Error> {
        Ok(Self {
            // What is not whole in VRAM is measured as such.
            engine: EngineOptions { partial_offload: true, ..options.clone() }.driver(connection)?,
            model: model.to_owned(),
            slots: options.slots,
            host: Box::new(Here::new(Box::new(Nvml::default()), options.url.as_ref())),
            host_name: host_name(),
        })
    }

    /// Finds and loads the model, and takes up what was measured of it before.
    pub(super) async fn begin<'a>(
        self,
        options: &'a Options,
        progress: &'a dyn Progress,
    ) -> Result<Run<'a>, Error> {
        let (budget, since) = (Budget::new(options.budget()), Instant::now());
        let silent = |failure: Failure| Error::Silent(failure.message);
        let description = self.engine.describe().await.map_err(silent)?;
        let model = find(&description, &self.model)?;
        let mut notes = BTreeSet::new();
        let slots = self.slots.known(description.slots);
        if slots.is_none() {
            notes.insert("The engine does not tell its slots: measured with one. State them.".to_owned());
        }
        let facts = self.engine.facts(&model.name).await.unwrap_or_else(|failure| {
            notes.insert(format!("The model cannot be described: {}.", failure.message));
            Facts::default()
        });
        let mut stage = Attached::new(self.engine, slots.unwrap_or(1), model.loaded.is_some());
        let others = clear(&mut stage, &*self.host, &model).await;
        let end = budget.end(Phase::Memory);
        load(&mut stage, &model, end).await?;
        let described = describe(&stage, &*self.host, &others, &description).await;
        let identity = Identity::of(&self.host_name, &described, &of_contract(&model));
        let log = Log::open(options.state_dir.as_deref(), identity)?;
        if !log.is_empty() {
            tracing::info!(seconds = log.seconds(), "going on where an earlier run ended");
        }
        let seed = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64);
        let cache = Cache::of(&facts.metadata, &described.kv_type, described.swa_full);
        Ok(Run {
            stage: Box::new(stage),
            host: self.host,
            options,
            progress,
            budget,
            log,
            words: Words::new(seed),
            model,
            facts,
            cache,
            others,
            notes,
            left_out: Vec::new(),
            since,
        })
    }
}

/// The model of that name, or the only one.
fn find(description: &Description, name: &str) -> Result<Model, Error> {
    let found = match (name, description.models.as_slice()) {
        ("", [only]) => Some(only),
        (name, models) => models.iter().find(|model| same_model(&model.name, name)),
    };
    let known = || description.models.iter().map(|model| model.name.clone()).collect();
    let model = found.ok_or_else(|| Error::NoModel { model: name.to_owned(), known: known() })?;
    if model.chat { Ok(model.clone()) } else { Err(Error::NotChat(model.name.clone())) }
}

/// What others take of the GPUs, seen without the model where it can be unloaded.
async fn clear(stage: &mut dyn Stage, host: &dyn Host, model: &Model) -> Vec<Others> {
    if model.loaded.is_some()
        && stage.sets_context()
        && let Err(failure) = stage.engine().unload(&model.name).await
    {
        tracing::warn!(failure.message, "model not unloaded");
    }
    room::others(&host.gpus().await.unwrap_or_default(), &host.engine_pids())
}

/// The first load, which tells on which GPUs the model runs.
async fn load(stage: &mut dyn Stage, model: &Model, end: Instant) -> Result<(), Error> {
    let slots = stage.slots().last().copied().unwrap_or(1);
    let context = if stage.sets_context() {
        model.max_context.unwrap_or(FIRST_CONTEXT).min(FIRST_CONTEXT)
    } else {
        model.loaded.map_or(0, |loaded| loaded.context)
    };
    let unusable = |message: String| Error::Unusable { model: model.name.clone(), message };
    let setting = Setting { slots, context, batch: 0 };
    match attempt(Phase::Memory, end, stage.set(&model.name, setting)).await? {
        Attempt::Done(()) => Ok(()),
        Attempt::Refused(Failure { class: Class::Suspect | Class::Bystander, message, .. }) => {
            Err(Error::Lost { doing: "loading the model", message })
        }
        Attempt::Refused(failure) => Err(unusable(failure.message)),
        Attempt::Over => Err(unusable("it did not load within its part of the budget".to_owned())),
    }
}

/// The engine with the GPUs that its processes are on, or whose use grew when the model was loaded.
async fn describe(
    stage: &dyn Stage,
    host: &dyn Host,
    before: &[Others],
    description: &Description,
) -> v1::Engine {
    let engine = stage.engine();
    let kind = match engine.kind() {
        EngineKind::Ollama => engine::Kind::Ollama,
        EngineKind::OpenAi => engine::Kind::Openai,
    };
    let sample: Sample = host.gpus().await;
    let gpus = room::in_use(&sample.unwrap_or_default(), &host.engine_pids(), before);
    let names: Vec<_> = gpus.iter().map(|gpu| gpu.name.as_str()).collect();
    v1::Engine {
        kind: kind.into(),
        version: description.version.clone(),
        gpu: names.join(" + "),
        driver: gpus.first().map(|gpu| gpu.driver.clone()).unwrap_or_default(),
        ..Default::default()
    }
}

fn of_contract(model: &Model) -> v1::Model {
    v1::Model { name: model.name.clone(), digest: model.digest.clone(), ..Default::default() }
}

// === impl Run ===

impl Run<'_> {
    /// Leaves the engine and concludes.
    pub(super) async fn end(mut self) -> Result<v1::Profile, Error> {
        if let Err(failure) = self.stage.leave(&self.model.name).await {
            tracing::warn!(failure.message, "the engine was not left as it was");
        }
        if self.log.is_empty() {
            let message = match self.notes.pop_first() {
                Some(note) => note,
                None => "nothing could be measured within the budget".to_owned(),
            };
            return Err(Error::Unusable { model: self.model.name, message });
        }
        if self.left_out.is_empty() {
            self.log.close();
        }
        let totals = self.host.gpus().await.unwrap_or_default();
        let known = Known {
            facts: &self.facts,
            cache: self.cache.as_ref(),
            slots: self.best_slots(),
            limit: self.limit(),
            model_context: self.facts.metadata.context_length().or(self.model.max_context),
            sliding_window: self.model.sliding_window,
            can_batch: self.stage.sets_context(),
            ceiling: room::ceiling(&totals, self.options.vram_ceiling),
        };
        Ok(profile::conclude(&self.log, &known, self.notes.into_iter().collect(), self.left_out.clone()))
    }
}
