use std::collections::HashMap;

use caravan_proto::v1::{self, engine::Kind};

use crate::{models, store::Offer};

/// Which digests of each model the engines that serve hold.
#[derive(Debug, Default)]
pub(super) struct Digests {
    by_model: HashMap<String, Vec<Held>>,
}

/// One engine's model.
#[derive(Debug)]
struct Held {
    kind: Kind,
    context: i64,
    digest: String,
    slots: i32,
}

// === impl Digests ===

impl Digests {
    /// What an engine offers to its lanes. A batch that has pinned no digest yet is left to the engines
    /// of the digest with the most lanes among those that could run whatever this one can (its kind, at
    /// least its context): one host that was forgotten at an update must not get the whole batch. As
    /// these could take any chunk in its place, none waits for an engine that is not there.
    pub(super) fn offers(&self, engine: &v1::Engine) -> Vec<Offer> {
        let offer = |model: &v1::Model| Offer {
            model: models::bare(&model.name).to_owned(),
            context: model.max_context,
            digest: model.digest.clone(),
            pins: self.pins(engine.kind(), model),
        };
        engine.models.iter().map(offer).collect()
    }

    fn pins(&self, kind: Kind, model: &v1::Model) -> bool {
        let held = self.by_model.get(models::bare(&model.name)).map(Vec::as_slice).unwrap_or_default();
        if held.iter().all(|held| held.digest == model.digest) {
            return true;
        }
        let mut lanes: HashMap<&str, i64> = HashMap::from([(model.digest.as_str(), 0)]);
        for held in held.iter().filter(|held| held.kind == kind && covers(held.context, model.max_context)) {
            *lanes.entry(&held.digest).or_default() += i64::from(held.slots);
        }
        lanes
            .into_iter()
            .max_by_key(|(digest, lanes)| (*lanes, *digest))
            .is_none_or(|(digest, _)| digest == model.digest)
    }
}

impl<'e> FromIterator<&'e v1::Engine> for Digests {
    fn from_iter<T: IntoIterator<Item = &'e v1::Engine>>(engines: T) -> Self {
        let mut by_model: HashMap<String, Vec<Held>> = HashMap::new();
        for engine in engines {
            for model in &engine.models {
                let held = Held {
                    kind: engine.kind(),
                    context: model.max_context,
                    digest: model.digest.clone(),
                    slots: engine.slots,
                };
                by_model.entry(models::bare(&model.name).to_owned()).or_default().push(held);
            }
        }
        Self { by_model }
    }
}

/// Whether one context is at least another; 0 is one whose bound is not known.
fn covers(context: i64, other: i64) -> bool {
    context == 0 || (other > 0 && context >= other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(kind: Kind, context: i64, digest: &str, slots: i32) -> v1::Engine {
        let model = v1::Model {
            name: "m:latest".into(),
            digest: digest.into(),
            max_context: context,
            ..Default::default()
        };
        v1::Engine { kind: kind.into(), models: vec![model], slots, ..Default::default() }
    }

    fn pinning(engines: &[v1::Engine]) -> Vec<bool> {
        let digests: Digests = engines.iter().collect();
        engines.iter().flat_map(|engine| digests.offers(engine)).map(|offer| offer.pins).collect()
    }

    #[test]
    fn the_digest_with_the_most_lanes_is_pinned() {
        let ollama = |digest: &str, slots| engine(Kind::Ollama, 100, digest, slots);
        assert_eq!(pinning(&[ollama("a", 1), ollama("a", 8)]), [true, true]);
        assert_eq!(pinning(&[ollama("a", 4), ollama("b", 3), ollama("a", 1)]), [true, false, true]);
        assert_eq!(pinning(&[ollama("a", 4), ollama("b", 4)]), [false, true], "either, but only one");
    }

    #[test]
    fn no_chunk_waits_for_engines_that_could_not_run_it() {
        let engines = [
            engine(Kind::Ollama, 100, "a", 8),
            engine(Kind::Ollama, 200, "b", 1),
            engine(Kind::Openai, 100, "", 1),
            engine(Kind::Ollama, 0, "c", 1),
        ];
        assert_eq!(pinning(&engines), [true, false, true, true]);
        assert_eq!(pinning(&engines[..3]), [true, true, true]);
    }
}
