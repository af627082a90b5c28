//! What is to be calibrated, and the beginning and end of a run.

use std::{collections::BTreeSet, num::NonZeroU32, path::Path, sync::Arc, time::SystemTime};

use caravan_proto::v1;
use tokio::time::Instant;
use url::Url;

use super::{
    Error, Options, Phase, Progress,
    attempt::Attempt,
    budget::Budget,
    formula::Cache,
    host::{Here, Host},
    identity::Identity,
    log::Log,
    owned::Owned,
    profile::{self, Known},
    room::{self, Others},
    run::{Run, sentence},
    shelf::Shelf,
    stage::{Attached, Stage},
    words::Words,
};
use crate::{
    engine::{self as drivers, Description, Facts, Failure, Model, same_model},
    gpu::{LIBRARY, Nvml, Probe as _, named},
    manage::{self, Launch, Program},
    options::{EngineOptions, Options as Configuration, Slots},
    service::host_name,
    unit::{self, Unit},
};

/// A model on an engine.
#[derive(Debug)]
pub struct Subject {
    pub(crate) stage: Box<dyn Stage>,
    /// As the user names it; empty: the only one.
    pub(crate) model: String,
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
        let engines = self.each_engine()?;
        let ids = engines.iter().enumerate().map(|(place, (engine, _))| unit::id(engine.kind, place));
        let ids: Vec<String> = ids.collect();
        let place = match (engine, engines.len()) {
            (Some(engine), _) => ids.iter().position(|id| id == engine),
            (None, 1) => Some(0),
            (None, _) => None,
        };
        let missing = || Error::NoEngine { id: engine.unwrap_or_default().to_owned(), known: ids.clone() };
        let place = place.ok_or_else(missing)?;
        let (engine, slots) = engines.get(place).ok_or_else(missing)?;
        let directory = |source| Error::State { path: self.profiles_dir.clone().unwrap_or_default(), source };
        let shelf = Shelf::open(self.profiles_dir.clone()).map_err(directory)?;
        let driver = measured(engine, self.connection)?;
        let stage: Box<dyn Stage> = match Program::new(&ids[place], engine, Arc::clone(&driver)) {
            Some(program) => Box::new(Owned::new(program, driver, Launch::of(engine), *slots)),
            None => Box::new(Attached::new(driver, engine.slots)),
        };
        let subject = Subject::new(stage, model, engine.url.as_ref(), &self.nvml_library, self.host_name());
        let profile = super::calibrate(subject, &self.calibration_of(engine), progress).await?;
        shelf.keep(profile.clone()).map_err(directory)?;
        Ok(profile)
    }

    /// Name of this host in the fleet.
    pub(crate) fn host_name(&self) -> String {
        self.host.clone().unwrap_or_else(host_name)
    }

    /// How models of `engine` are calibrated.
    pub(crate) fn calibration_of(&self, engine: &EngineOptions) -> Options {
        let max_context = [self.calibration.max_context, engine.max_context].into_iter().flatten().min();
        Options { vram_ceiling: self.vram_ceiling, max_context, ..self.calibration.clone() }
    }

    /// The engines as an executor would have them, each with the slots that its entry states: for a
    /// managed one others would take what an older profile says.
    fn each_engine(&self) -> Result<Vec<(EngineOptions, Slots)>, Error> {
        let (mut each, mut gpus) = (Vec::new(), Nvml::new(&self.nvml_library));
        for entry in &self.engines {
            let expanded = manage::expand(std::slice::from_ref(entry), || gpus.sample())?;
            each.extend(expanded.into_iter().map(|engine| {
                let max_context = entry.max_context;
                (EngineOptions { max_context, ..engine }, entry.slots)
            }));
        }
        Ok(each)
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
        let stage = Attached::new(measured(options, connection)?, options.slots);
        Ok(Self::new(Box::new(stage), model, options.url.as_ref(), Path::new(LIBRARY), host_name()))
    }

    /// `model` on the engine of `unit`, which runs at `url`.
    pub(crate) fn running(
        unit: &Unit,
        model: &str,
        url: Option<&Url>,
        nvml: &Path,
        host_name: String,
    ) -> Self {
        let slots = NonZeroU32::new(unit.lanes.now()).map_or(Slots::Auto, Slots::Fixed);
        let launch = unit.managed.as_ref().map(|managed| managed.launch());
        let cache = launch.map(|launch| (launch.kv_type.unwrap_or_default(), launch.swa_full));
        let stage = Attached::new(Arc::clone(&unit.engine), slots).cached_as(cache.unwrap_or_default());
        Self::new(Box::new(stage), model, url, nvml, host_name)
    }

    fn new(stage: Box<dyn Stage>, model: &str, url: Option<&Url>, nvml: &Path, host_name: String) -> Self {
        let host = Box::new(Here::new(Box::new(Nvml::new(nvml)), url));
        Self { stage, model: model.to_owned(), host, host_name }
    }

    /// Finds and loads the model, and takes up what was measured of it before.
    pub(super) async fn begin<'a>(
        mut self,
        options: &'a Options,
        progress: &'a dyn Progress,
    ) -> Result<Run<'a>, Error> {
        let (budget, since) = (Budget::new(options.budget()), Instant::now());
        let silent = |failure: Failure| Error::Silent(failure.message);
        let description = self.stage.open(&self.model).await.map_err(silent)?;
        let model = find(&description, &self.model)?;
        let mut notes = BTreeSet::new();
        if self.stage.is_assumed() {
            notes.insert("The engine does not tell its slots: taken for one. State them.".to_owned());
        }
        let facts = self.stage.engine().facts(&model.name).await.unwrap_or_else(|failure| {
            notes.insert(format!("The model cannot be described: {}", sentence(&failure.message)));
            Facts::default()
        });
        let others = clear(&*self.stage, &*self.host, &model).await;
        let (kv_type, swa_full) = self.stage.cache();
        let seed = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64);
        let mut run = Run {
            stage: self.stage,
            host: self.host,
            options,
            progress,
            budget,
            log: Log::open(None, Identity::default())?,
            words: Words::new(seed),
            cache: Cache::of(&facts.metadata, &kv_type, swa_full),
            model,
            facts,
            others,
            notes,
            left_out: Vec::new(),
            since,
        };
        run.load_first().await?;
        let (described, gpus) = run.describe(description, kv_type, swa_full).await;
        // Other GPUs of the host give it no room.
        run.others.retain(|other| gpus.contains(&other.index));
        let identity = Identity::of(&self.host_name, &described, &of_contract(&run.model));
        run.log = Log::open(options.state_dir.as_deref(), identity)?;
        if !run.log.is_empty() {
            tracing::info!(seconds = run.log.seconds(), "going on where an earlier run ended");
        }
        Ok(run)
    }
}

/// The engine's driver. What is not whole in VRAM is measured as such.
fn measured(
    options: &EngineOptions,
    connection: drivers::Options,
) -> Result<Arc<dyn drivers::Engine>, drivers::Error> {
    EngineOptions { partial_offload: true, ..options.clone() }.driver(connection)
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
async fn clear(stage: &dyn Stage, host: &dyn Host, model: &Model) -> Vec<Others> {
    if model.loaded.is_some()
        && stage.sets_context()
        && let Err(failure) = stage.engine().unload(&model.name).await
    {
        tracing::warn!(failure.message, "model not unloaded");
    }
    room::others(&host.gpus().await.unwrap_or_default(), &host.engine_pids())
}

fn of_contract(model: &Model) -> v1::Model {
    v1::Model { name: model.name.clone(), digest: model.digest.clone(), ..Default::default() }
}

// === impl Run ===

impl Run<'_> {
    /// The first load, which tells on which GPUs the model runs, and with how many slots it can.
    async fn load_first(&mut self) -> Result<(), Error> {
        let end = self.budget.end(Phase::Memory);
        let unusable =
            |run: &Self, message: String| Error::Unusable { model: run.model.name.clone(), message };
        loop {
            let message = match self.set(Phase::Memory, end, self.working()).await? {
                Attempt::Done(()) if !self.read().await?.0.is_split() => return Ok(()),
                Attempt::Done(()) => "a part of it is on the CPU".to_owned(),
                Attempt::Refused(failure) => failure.message,
                Attempt::Over => {
                    let message = "it did not load within its part of the budget".to_owned();
                    return Err(unusable(self, message));
                }
            };
            let slots = self.most_slots();
            if !self.stage.take_fewer() {
                return Err(unusable(self, message));
            }
            self.note(format!("With {slots} slots it does not run: {}", sentence(&message)));
        }
    }

    /// The engine as planners know it, with the GPUs that it runs on.
    async fn describe(
        &self,
        description: Description,
        kv_type: String,
        swa_full: bool,
    ) -> (v1::Engine, Vec<i32>) {
        let sample = self.host.gpus().await.unwrap_or_default();
        let gpus = room::in_use(&sample, &self.host.engine_pids(), &self.others);
        let indexes = gpus.iter().map(|gpu| gpu.index).collect();
        let (gpu, driver) = named(&gpus.iter().collect::<Vec<_>>());
        let engine = v1::Engine {
            kind: unit::contract_kind(self.engine().kind()).into(),
            version: description.version,
            gpu,
            driver,
            kv_type,
            swa_full,
            ..Default::default()
        };
        (engine, indexes)
    }

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
            slots: self.best_slots(),
            limit: self.limit(),
            model_context: self.model_context(),
            sliding_window: self.model.sliding_window,
            can_batch: self.stage.sets_context(),
            ceiling: room::ceiling(&totals, self.options.vram_ceiling),
        };
        Ok(profile::conclude(&self.log, &known, self.notes.into_iter().collect(), self.left_out.clone()))
    }
}
