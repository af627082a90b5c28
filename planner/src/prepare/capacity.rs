use std::collections::BTreeMap;

use caravan_plan::{Fleet, Origin, ReusePoint, Tokens};
use caravan_proto::{
    profile::Difference,
    v1::{self, engine},
};
use caravan_request::{EngineKind, Kinds};

use super::{Options, count::Counter, draw::Facts};
use crate::{
    models, profiles,
    store::{Executor, Profile},
};

/// Differences between engines and profiles that a plan names.
const SENTENCES: usize = 10;

/// What the fleet can do now, for planning.
#[derive(Debug, Default)]
pub struct Capacity {
    engines: Vec<v1::Engine>,
    /// Whose each engine is.
    hosts: Vec<Host>,
    /// Engines that answer and cannot be used, each with its host.
    unfit: Vec<(String, v1::Engine)>,
    profiles: Vec<v1::Profile>,
}

#[derive(Debug, Clone)]
struct Host {
    executor: String,
    host: String,
}

/// An engine that has a model.
type Found<'c> = (&'c v1::Engine, &'c v1::Model);

/// One of those that a profile holds for.
type Measured<'c> = (&'c v1::Engine, &'c v1::Profile);

// === impl Capacity ===

impl Capacity {
    /// The engines that serve on these executors, with no larger contexts than were measured to be safe.
    #[must_use]
    pub fn of(executors: Vec<Executor>, profiles: Vec<Profile>) -> Self {
        let online = executors.into_iter().filter(|e| e.detail.state() == v1::executor::State::Online);
        let all = online.flat_map(|executor| {
            let host = Host { executor: executor.id.name(), host: executor.detail.host };
            executor.detail.engines.into_iter().map(move |engine| (engine, host.clone()))
        });
        let mut capacity = Self::default();
        for (engine, host) in all {
            match engine.state() {
                engine::State::Ready => {
                    capacity.engines.push(engine);
                    capacity.hosts.push(host);
                }
                engine::State::Unfit => capacity.unfit.push((host.host, engine)),
                _ => {}
            }
        }
        capacity.profiles = profiles.into_iter().map(profiles::view).collect();
        capacity.engines.iter_mut().for_each(|engine| profiles::cap(engine, &capacity.profiles));
        capacity
    }

    /// One engine of nobody's, and what was calibrated on it.
    #[must_use]
    pub(super) fn as_profiled(engine: v1::Engine, profile: v1::Profile) -> Self {
        let (executor, host) = Default::default();
        let hosts = vec![Host { executor, host }];
        Self { engines: vec![engine], hosts, unfit: Vec::new(), profiles: vec![profile] }
    }

    /// The engines that serve.
    #[must_use]
    pub(super) fn engines(&self) -> &[v1::Engine] {
        &self.engines
    }

    /// Kinds of engine that serve `model`, or any model; all kinds while there is none.
    #[must_use]
    pub fn kinds(&self, model: Option<&str>) -> Kinds {
        let serving =
            self.engines.iter().filter(|engine| model.is_none_or(|model| has(engine, model).is_some()));
        let kinds: Kinds = serving.filter_map(|engine| kind(engine.kind())).collect();
        if kinds.is_empty() { Kinds::ALL } else { kinds }
    }

    /// Whether some engine has the model.
    #[must_use]
    pub fn serves(&self, model: &str) -> bool {
        self.engines.iter().any(|engine| has(engine, model).is_some())
    }

    /// Why an engine that has the model cannot be used, if one cannot and none that has it can.
    #[must_use]
    pub fn unfit(&self, model: &str) -> Option<String> {
        let mut unfit = self.unfit.iter().filter(|(_, engine)| has(engine, model).is_some());
        let (host, engine) = unfit.next().filter(|_| !self.serves(model))?;
        Some(format!("{host}/{} has the model {model} and cannot be used: {}", engine.id, engine.message))
    }

    /// The engines that have one of these models, each with the first of them.
    #[must_use]
    pub(super) fn qualified(&self, models: &[String]) -> Vec<v1::QualifiedEngine> {
        let each = self.engines.iter().zip(&self.hosts).filter_map(|(engine, host)| {
            let model = models.iter().find_map(|model| has(engine, model))?;
            Some(v1::QualifiedEngine {
                executor: host.executor.clone(),
                host: host.host.clone(),
                engine: engine.id.clone(),
                model: model.name.clone(),
                slots: engine.slots,
                max_context: model.max_context,
            })
        });
        each.collect()
    }

    /// The largest context of one slot for a model, if every engine that has it tells.
    #[must_use]
    pub fn context(&self, model: &str) -> Option<i64> {
        let contexts =
            self.engines.iter().filter_map(|engine| has(engine, model)).map(|model| model.max_context);
        let contexts: Vec<i64> = contexts.collect();
        contexts.iter().copied().max().filter(|_| !contexts.contains(&0))
    }

    /// What is known of a model, but for its tokenizer and what was learned of its answers.
    #[must_use]
    pub(super) fn facts(&self, model: &str, options: &Options) -> Facts {
        let found = self.found(model);
        let measured = self.measured(&found);
        Facts {
            fleet: fleet(&found, &measured, options),
            counter: counter(&measured, options),
            notes: self.notes(model, &found, &measured),
            needs: reuse(&measured).map(|point| point.needs.clone()).collect(),
        }
    }

    /// What a person should know of a model: where its digests differ, why profiles do not hold for engines,
    /// and for which engines something is assumed.
    fn notes(&self, model: &str, found: &[Found<'_>], measured: &[Measured<'_>]) -> Vec<String> {
        let mut notes = Vec::from_iter(self.disagreement(model));
        let mut differing: BTreeMap<Difference, Vec<String>> = BTreeMap::new();
        for (engine, known) in found {
            if let Some(difference) = profiles::closest(&self.profiles, engine, known) {
                differing.entry(difference).or_default().push(self.name(engine));
            }
        }
        for (difference, engines) in differing.iter().take(SENTENCES) {
            let engines = several(engines);
            notes.push(format!(
                "The profile of model {model} was measured {difference} on {engines}: it is not used there. \
                 Calibrate again."
            ));
        }
        let (all, known) = (found.len(), measured.len());
        if (1..all).contains(&known) {
            notes.push(format!(
                "{known} of {all} engines are measured for model {model}: the others are taken to be as fast."
            ));
        }
        let beyond = measured.iter().filter_map(|(engine, profile)| {
            let most = profile.speeds.last().map(|point| point.slots)?;
            (engine.slots > most).then_some((most, engine))
        });
        if let Some((most, engine)) = beyond.min_by_key(|(most, _)| *most) {
            notes.push(format!(
                "Model {model} was measured with up to {most} slots, and {} has {}: it is taken to do no more \
                 in all than with {most}.",
                self.name(engine),
                engine.slots
            ));
        }
        notes
    }

    pub(super) fn found(&self, model: &str) -> Vec<Found<'_>> {
        self.engines.iter().filter_map(|engine| Some((engine, has(engine, model)?))).collect()
    }

    /// Those of these engines that a profile holds for, with it.
    fn measured<'c>(&'c self, found: &[Found<'c>]) -> Vec<Measured<'c>> {
        let profile = |engine, model| profiles::valid(&self.profiles, engine, model);
        found.iter().filter_map(|&(engine, model)| Some((engine, profile(engine, model)?))).collect()
    }

    /// An engine as people know it.
    pub(super) fn name(&self, engine: &v1::Engine) -> String {
        let place = self.engines.iter().position(|known| std::ptr::eq(known, engine));
        match place.and_then(|place| self.hosts.get(place)).filter(|host| !host.host.is_empty()) {
            Some(host) => format!("{}/{}", host.host, engine.id),
            None => engine.id.clone(),
        }
    }
}

/// The lanes of the engines that have a model.
fn fleet(found: &[Found<'_>], measured: &[Measured<'_>], options: &Options) -> Fleet {
    let lanes = found.iter().map(|(engine, _)| slots(engine)).fold(0, u32::saturating_add);
    let context = found.iter().filter_map(|(_, model)| u64::try_from(model.max_context).ok()).max();
    let origin = match (found.len(), measured.len()) {
        (0, _) => Origin::Configured,
        (all, known) if all == known => Origin::Profile,
        _ => Origin::Reported,
    };
    let by_slots: Vec<_> = measured.iter().map(|(engine, profile)| (slots(engine), *profile)).collect();
    // An engine that keeps the whole cache of such layers behaves as if it had no window.
    let windows = found.iter().filter(|(engine, _)| !engine.swa_full);
    let window = windows.filter_map(|(_, model)| u64::try_from(model.sliding_window).ok()).max();
    Fleet {
        lanes: if found.is_empty() { options.default_lanes } else { lanes },
        lanes_known: !found.is_empty(),
        context: Tokens(context.filter(|tokens| *tokens > 0).unwrap_or(options.default_context)),
        speeds: profiles::of_lanes(&by_slots, lanes),
        sliding_window: window.filter(|window| *window > 0).map(Tokens),
        reuse: reuse(measured).map(reuse_point).collect(),
        answer_share: None,
        reserve_share: None,
        origin,
    }
}

/// How the prompts of a model are counted, as far as profiles tell.
fn counter(measured: &[Measured<'_>], options: &Options) -> Counter {
    let images = measured.iter().filter_map(|(_, profile)| u64::try_from(profile.image_tokens).ok());
    let image_tokens = images.into_iter().find(|tokens| *tokens > 0);
    Counter {
        tokenizer: None,
        begin_tokens: 0,
        template: measured.iter().find_map(|(_, profile)| profile.template),
        bytes_per_token: options.bytes_per_token(),
        image_tokens: image_tokens.unwrap_or(options.image_tokens),
        image_known: image_tokens.is_some(),
    }
}

/// What was measured of the reuse of prefixes: on an engine that keeps no more of a window than it must, if
/// there is one.
fn reuse<'c>(measured: &[Measured<'c>]) -> impl Iterator<Item = &'c v1::ReusePoint> + use<'c> {
    let told = measured.iter().filter(|(_, profile)| !profile.reuse.is_empty());
    let points = told.min_by_key(|(engine, _)| engine.swa_full).map(|(_, profile)| &profile.reuse);
    // Where an engine tells neither counts nor times, nothing is known.
    let known = |point: &&v1::ReusePoint| point.reused || point.basis() != v1::Basis::Unspecified;
    points.into_iter().flatten().filter(known)
}

fn reuse_point(point: &v1::ReusePoint) -> ReusePoint {
    let tokens = |count: i64| Tokens(u64::try_from(count).unwrap_or_default());
    ReusePoint {
        prefix: tokens(point.prefix_tokens),
        own: tokens(point.own_tokens),
        batch: tokens(point.batch_tokens),
        kept: point.reused,
    }
}

fn slots(engine: &v1::Engine) -> u32 {
    u32::try_from(engine.slots).unwrap_or_default()
}

/// `a`, or `a and 3 more`.
pub(super) fn several(engines: &[String]) -> String {
    match engines {
        [] => String::new(),
        [one] => one.clone(),
        [first, more @ ..] => format!("{first} and {} more", more.len()),
    }
}

fn has<'e>(engine: &'e v1::Engine, model: &str) -> Option<&'e v1::Model> {
    engine.models.iter().find(|known| models::means(model, &known.name))
}

fn kind(kind: engine::Kind) -> Option<EngineKind> {
    match kind {
        engine::Kind::Ollama => Some(EngineKind::Ollama),
        engine::Kind::Openai => Some(EngineKind::OpenAi),
        engine::Kind::Unspecified => None,
    }
}

/// A set of kinds as chunks store it: bit `1 << v1::engine::Kind`.
#[must_use]
pub(super) fn kind_bits(kinds: Kinds) -> i64 {
    let number = |kind| match kind {
        EngineKind::Ollama => engine::Kind::Ollama as i64,
        EngineKind::OpenAi => engine::Kind::Openai as i64,
    };
    kinds.iter().map(|kind| 1 << number(kind)).sum()
}
