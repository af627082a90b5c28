//! One calibration: what it works with, and what every phase does alike.

use std::{collections::BTreeSet, sync::Arc};

use caravan_proto::v1;
use caravan_request::EngineKind;
use tokio::time::Instant;

use super::{
    Error, Options, Phase, Progress,
    ask::Target,
    attempt::{Attempt, attempt},
    budget::Budget,
    formula::{Cache, PAD},
    host::Host,
    line::{self, Line},
    log::Log,
    measurement::{Load, Measurement, Reading},
    rates,
    room::{self, Others, Room},
    stage::{Setting, Stage},
    words::Words,
};
use crate::engine::{Class, Engine, Facts, Loaded, Model, same_model};

/// Context of a slot for requests that measure speed and reuse, where it can be chosen: the longest
/// prefix that is tried, its request's own part and the answer.
const WORKING_CONTEXT: u64 = 4_096;

/// A calibration under way.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) stage: Box<dyn Stage>,
    pub(super) host: Box<dyn Host>,
    pub(super) options: &'a Options,
    pub(super) progress: &'a dyn Progress,
    pub(super) budget: Budget,
    pub(super) log: Log,
    pub(super) words: Words,
    pub(super) model: Model,
    pub(super) facts: Facts,
    /// The formula's part of a slot; none where the metadata do not tell.
    pub(super) cache: Option<Cache>,
    /// What others take of the GPUs.
    pub(super) others: Vec<Others>,
    /// For a person, each once.
    pub(super) notes: BTreeSet<String>,
    pub(super) left_out: Vec<String>,
    /// When the log was last written.
    pub(super) since: Instant,
}

// === impl Run ===

impl Run<'_> {
    /// Keeps what was measured.
    pub(super) fn keep(&mut self, measurement: Measurement) -> Result<(), Error> {
        let seconds = self.since.elapsed().as_secs_f64();
        self.since = Instant::now();
        self.log.push(measurement, seconds)
    }

    pub(super) fn note(&mut self, sentence: impl Into<String>) {
        self.notes.insert(sentence.into());
    }

    /// Something is not measured, because the time is over.
    pub(super) fn leave_out(&mut self, what: impl Into<String>) {
        self.left_out.push(what.into());
    }

    pub(super) fn show(&self, phase: Phase, what: &str) {
        self.progress.at(phase, self.budget.share(), what);
    }

    /// The slots that the profile is for: the engine's where they are fixed, else those of the knee.
    pub(super) fn best_slots(&self) -> u32 {
        let choices = self.stage.slots();
        let rates = rates::conclude(&self.log.bursts().collect::<Vec<_>>());
        let knee = rates.iter().find(|rates| rates.point.knee).map(|rates| rates.point.slots.unsigned_abs());
        knee.filter(|knee| choices.contains(knee)).unwrap_or_else(|| self.most_slots())
    }

    /// The most slots that the engine can be run with.
    pub(super) fn most_slots(&self) -> u32 {
        self.stage.slots().last().copied().unwrap_or(1)
    }

    /// The largest context that may be asked for, where that is known.
    pub(super) fn limit(&self) -> Option<u64> {
        let fixed =
            (!self.stage.sets_context()).then(|| self.model.loaded.map_or(0, |loaded| loaded.context));
        let fixed = fixed.filter(|context| *context > 0);
        [self.model_context(), self.options.max_context, fixed].into_iter().flatten().min()
    }

    /// The context that the model was made for.
    pub(super) fn model_context(&self) -> Option<u64> {
        let made_for = self.facts.metadata.context_length();
        // A server whose models are fixed at its start tells what it was started with.
        let is_told = self.engine().kind() == EngineKind::Ollama || !self.stage.sets_context();
        made_for.or(self.model.max_context.filter(|_| is_told))
    }

    /// How requests are asked: the same for reuse and for speed.
    pub(super) fn working(&self) -> Setting {
        let context = match (self.stage.sets_context(), self.limit()) {
            (true, Some(limit)) => limit.min(WORKING_CONTEXT),
            (true, None) => WORKING_CONTEXT,
            (false, limit) => limit.unwrap_or(0),
        };
        Setting { slots: self.most_slots(), context, batch: 0 }
    }

    /// Tokens that a request of the working setting may have; the whole where it is not known.
    pub(super) fn working_context(&self) -> u64 {
        let context = self.working().context;
        if context > 0 { context } else { WORKING_CONTEXT }
    }

    /// Loads with `setting`, until `end`.
    pub(super) async fn set(
        &mut self,
        phase: Phase,
        end: Instant,
        setting: Setting,
    ) -> Result<Attempt<()>, Error> {
        attempt(phase, end, self.stage.set(&self.model.name, setting)).await
    }

    /// The model loaded for requests; false if that did not come about, which is left out as `what`.
    pub(super) async fn ready(&mut self, phase: Phase, end: Instant, what: &str) -> Result<bool, Error> {
        match self.set(phase, end, self.working()).await? {
            Attempt::Done(()) => Ok(true),
            Attempt::Refused(failure) => {
                self.note(format!("Not measured: {what}. {}", sentence(&failure.message)));
                Ok(false)
            }
            Attempt::Over => {
                self.leave_out(what);
                Ok(false)
            }
        }
    }

    /// What came of a step of requests; none if there is nothing, which is said.
    pub(super) fn settle<T>(
        &mut self,
        phase: Phase,
        attempt: Attempt<T>,
        what: &str,
    ) -> Result<Option<T>, Error> {
        match attempt {
            Attempt::Done(done) => return Ok(Some(done)),
            Attempt::Refused(failure) if matches!(failure.class, Class::Suspect | Class::Bystander) => {
                return Err(Error::lost(phase.doing(), &failure));
            }
            Attempt::Refused(failure) => {
                self.note(format!("Not measured: {what}. {}", sentence(&failure.message)));
            }
            Attempt::Over => self.leave_out(what),
        }
        Ok(None)
    }

    pub(super) fn engine(&self) -> Arc<dyn Engine> {
        self.stage.engine()
    }

    /// Where requests of `setting` go.
    pub(super) fn target<'t>(&'t self, engine: &'t dyn Engine, setting: Setting) -> Target<'t> {
        Target { engine, model: &self.model.name, set: setting.reload_set() }
    }

    /// What the model takes now.
    pub(super) async fn read(&self) -> Result<(Reading, Vec<v1::Gpu>), Error> {
        let description = self.engine().describe().await;
        let description = description.map_err(|failure| Error::lost(Phase::Memory.doing(), &failure))?;
        let found = description.models.into_iter().find(|model| same_model(&model.name, &self.model.name));
        let Loaded { size, size_vram, .. } = found.and_then(|model| model.loaded).unwrap_or_default();
        let gpus = self.host.gpus().await.unwrap_or_default();
        let pids = self.host.engine_pids();
        let nvml = room::taken(&gpus, &pids);
        let resident = self.host.resident(&pids).unwrap_or(0);
        Ok((Reading { nvml, size, size_vram, resident }, gpus))
    }

    /// Reads what `setting` takes, and whether that may be; the reading is kept.
    pub(super) async fn weigh(&mut self, setting: Setting, filled: bool) -> Result<Load, Error> {
        let (reading, gpus) = self.read().await?;
        let spare = if filled { room::SPARE_FILLED } else { room::SPARE };
        let refused = room::refusal(&reading, &gpus, &self.others, self.options.vram_ceiling, spare);
        let Setting { slots, context, batch } = setting;
        let refused = refused.unwrap_or_default();
        let load = Load { slots, context, batch, reading, refused, filled };
        self.keep(Measurement::Load(load.clone()))?;
        Ok(load)
    }

    /// A load that failed, kept as one that is not safe.
    pub(super) fn refuse(&mut self, setting: Setting, why: &str) -> Result<Load, Error> {
        let Setting { slots, context, batch } = setting;
        let load = Load { slots, context, batch, refused: sentence(why), ..Load::default() };
        self.keep(Measurement::Load(load.clone()))?;
        Ok(load)
    }

    /// The line through the loads so far.
    pub(super) fn line(&self) -> Option<Line> {
        Line::of(&self.log.loads().collect::<Vec<_>>(), self.cache.as_ref())
    }

    /// What the model may take, in what the line counts.
    pub(super) fn room(&self) -> Room {
        use v1::memory_fit::Source;
        if !self.is_on_gpu() {
            let free = self.host.available();
            let reading = self.last_reading();
            let own = reading.resident.max(reading.size);
            return free.map_or_else(
                || Room::NotKnown("The host's free memory cannot be read.".to_owned()),
                |free| Room::Host((free + own).saturating_sub(room::SPARE)),
            );
        }
        let seen_by_nvml = self.line().is_some_and(|line| line.source == Source::Nvml);
        let kept = room::SPARE + if seen_by_nvml || self.others.is_empty() { 0 } else { room::DRIVER };
        match Room::on_gpus(&self.others, self.options.vram_ceiling) {
            Room::Vram(bytes) => Room::Vram(bytes.saturating_sub(kept)),
            other => other,
        }
    }

    /// Whether the model was on a GPU when it was loaded last.
    pub(super) fn is_on_gpu(&self) -> bool {
        let reading = self.last_reading();
        reading.size_vram > 0 || reading.nvml > 0
    }

    fn last_reading(&self) -> Reading {
        let last = self.log.loads().rev().find(|load| load.reading != Reading::default());
        last.map(|load| load.reading).unwrap_or_default()
    }

    /// The contexts at which memory is measured: powers of two from where it is a line.
    pub(super) fn contexts(&self) -> Vec<u64> {
        if !self.stage.sets_context() {
            return self.limit().into_iter().collect();
        }
        let start = line::linear_from(self.cache.as_ref(), 0).max(SHORTEST).next_power_of_two();
        let limit = self.limit().unwrap_or(start << (RUNGS - 1));
        let mut contexts: Vec<u64> =
            (0..RUNGS).map(|rung| start << rung).filter(|context| *context <= limit).collect();
        if contexts.len() < 2 {
            // The model's context is short: halves of it, on the line or not.
            contexts = [limit / 4, limit / 2, limit].map(|context| context / PAD * PAD).to_vec();
            contexts.retain(|context| *context > 0);
        }
        contexts.dedup();
        contexts
    }
}

/// The shortest context at which memory is measured: the planner's smallest.
const SHORTEST: u64 = 2_048;
/// Contexts at which memory is measured, each twice the one before: a line over eight times the
/// memory, at a load each.
const RUNGS: u32 = 4;

/// Letters of an engine's sentence that are kept.
const SENTENCE: usize = 400;

/// An engine's words as a sentence of its own, on one line and not too long.
pub(super) fn sentence(text: &str) -> String {
    let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut letters = text.trim_end_matches('.').chars().take(SENTENCE);
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.collect::<String>())
}
