use caravan_plan::{Fleet, Origin, Tokens};
use caravan_proto::v1::{self, engine};
use caravan_request::{EngineKind, Kinds};

use super::{Options, count::Counter};
use crate::{
    models,
    store::{Executor, Profile},
};

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

// === impl Capacity ===

impl Capacity {
    /// The engines that serve on these executors, and what was calibrated.
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
        capacity.profiles = profiles.into_iter().map(|profile| profile.detail).collect();
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

    /// Whether an engine answers and cannot be used.
    #[must_use]
    pub fn has_unfit(&self) -> bool {
        !self.unfit.is_empty()
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

    /// The lanes for a model.
    #[must_use]
    pub fn fleet(&self, model: &str, options: &Options) -> Fleet {
        let found = self.found(model);
        let lanes: u32 =
            found.iter().map(|(engine, _)| u32::try_from(engine.slots).unwrap_or_default()).sum();
        let context = found.iter().filter_map(|(_, model)| u64::try_from(model.max_context).ok()).max();
        let window = found.iter().filter_map(|(_, model)| u64::try_from(model.sliding_window).ok()).max();
        let profile = self.profile(&found);
        let origin = match (found.is_empty(), profile) {
            (true, _) => Origin::Configured,
            (false, Some(_)) => Origin::Profile,
            (false, None) => Origin::Reported,
        };
        let speed = |of: fn(&v1::Profile) -> f64| profile.map(of).filter(|speed| *speed > 0.0);
        Fleet {
            lanes: if found.is_empty() { options.default_lanes } else { lanes },
            lanes_known: !found.is_empty(),
            context: Tokens(context.filter(|tokens| *tokens > 0).unwrap_or(options.default_context)),
            prefill_tokens_per_second: speed(|profile| profile.prefill_tokens_per_second),
            decode_tokens_per_second: speed(|profile| profile.decode_tokens_per_second),
            sliding_window: window.filter(|window| *window > 0).map(Tokens),
            answer_share: None,
            reserve_share: None,
            origin,
        }
    }

    /// How the prompts of a model are counted, as far as profiles tell.
    #[must_use]
    pub(super) fn counter(&self, model: &str, options: &Options) -> Counter {
        let found = self.found(model);
        let profile = self.profile(&found);
        let image_tokens = profile.and_then(|profile| u64::try_from(profile.image_tokens).ok());
        let image_tokens = image_tokens.filter(|tokens| *tokens > 0);
        Counter {
            tokenizer: None,
            begin_tokens: 0,
            template: profile.and_then(|profile| profile.template),
            bytes_per_token: options.bytes_per_token(),
            image_tokens: image_tokens.unwrap_or(options.image_tokens),
            image_known: image_tokens.is_some(),
        }
    }

    fn found(&self, model: &str) -> Vec<(&v1::Engine, &v1::Model)> {
        self.engines.iter().filter_map(|engine| Some((engine, has(engine, model)?))).collect()
    }

    /// The newest profile of one of these models.
    fn profile(&self, found: &[(&v1::Engine, &v1::Model)]) -> Option<&v1::Profile> {
        self.profiles.iter().find(|profile| {
            found.iter().any(|(engine, model)| {
                profile.model == model.name
                    && profile.model_digest == model.digest
                    && profile.engine_kind == engine.kind
            })
        })
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
