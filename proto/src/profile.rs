//! What a profile holds for.

use std::fmt;

use crate::{json::enum_text, v1};

/// What an engine has other than what a profile was measured on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    aspect: Aspect,
    measured: String,
    now: String,
}

/// In what they may differ, what matters most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Aspect {
    Digest,
    Kind,
    Version,
    Gpu,
    Driver,
    KvType,
    Window,
}

/// The first difference between what a profile was measured on and an engine that has its model now. None:
/// the profile holds for it. What one of them leaves open differs from what the other tells: an engine
/// whose GPU is not known is never taken for the one that was measured. Slots and contexts make no
/// difference: a profile tells of several.
#[must_use]
pub fn difference(profile: &v1::Profile, engine: &v1::Engine, model: &v1::Model) -> Option<Difference> {
    let window = |swa_full: bool| if swa_full { "whole" } else { "as long as the window" };
    let both: [(Aspect, &str, &str); 7] = [
        (Aspect::Digest, &profile.model_digest, &model.digest),
        (Aspect::Kind, profile.engine_kind().as_str_name(), engine.kind().as_str_name()),
        (Aspect::Version, &profile.engine_version, &engine.version),
        (Aspect::Gpu, &profile.gpu, &engine.gpu),
        (Aspect::Driver, &profile.driver, &engine.driver),
        (Aspect::KvType, &profile.kv_type, &engine.kv_type),
        (Aspect::Window, window(profile.swa_full), window(engine.swa_full)),
    ];
    let (aspect, measured, now) = both.into_iter().find(|(_, measured, now)| measured != now)?;
    let text = |value: &str| match aspect {
        Aspect::Kind => enum_text(value, "Kind"),
        _ => value.to_owned(),
    };
    Some(Difference { aspect, measured: text(measured), now: text(now) })
}

// === impl Difference ===

impl Difference {
    /// How alike they are nevertheless: of two differences, the one in what matters less is the greater.
    pub fn likeness(&self) -> impl Ord + use<> {
        self.aspect
    }
}

impl fmt::Display for Difference {
    /// Reads behind "was measured".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.aspect {
            Aspect::Digest => "the model digest",
            Aspect::Kind => "an engine of the kind",
            Aspect::Version => "the engine version",
            Aspect::Gpu => "the GPU",
            Aspect::Driver => "the GPU driver",
            Aspect::KvType => "a KV cache of type",
            Aspect::Window => "a cache of sliding windows",
        };
        let value = |value: &str| if value.is_empty() { "(none known)".to_owned() } else { value.to_owned() };
        write!(f, "with {what} {}, which is {} now", value(&self.measured), value(&self.now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured() -> (v1::Profile, v1::Engine, v1::Model) {
        let (kind, version) = (v1::engine::Kind::Ollama.into(), "0.33.1".to_owned());
        let (gpu, driver, kv_type) = ("NVIDIA H100".to_owned(), "570.1".to_owned(), "f16".to_owned());
        let profile = v1::Profile {
            model_digest: "d1".into(),
            engine_kind: kind,
            engine_version: version.clone(),
            gpu: gpu.clone(),
            driver: driver.clone(),
            kv_type: kv_type.clone(),
            ..Default::default()
        };
        let engine = v1::Engine { kind, version, gpu, driver, kv_type, ..Default::default() };
        (profile, engine, v1::Model { digest: "d1".into(), ..Default::default() })
    }

    #[test]
    fn every_aspect_counts() {
        let (profile, engine, model) = measured();
        assert_eq!(difference(&profile, &engine, &model), None);
        let told = |engine: v1::Engine| difference(&profile, &engine, &model).unwrap().to_string();
        for (other, sentence) in [
            (
                v1::Engine { version: "0.34.0".into(), ..engine.clone() },
                "with the engine version 0.33.1, which is 0.34.0 now",
            ),
            (
                v1::Engine { gpu: String::new(), ..engine.clone() },
                "with the GPU NVIDIA H100, which is (none known) now",
            ),
            (
                v1::Engine { driver: "580.2".into(), ..engine.clone() },
                "with the GPU driver 570.1, which is 580.2 now",
            ),
            (
                v1::Engine { kv_type: "q8_0".into(), ..engine.clone() },
                "with a KV cache of type f16, which is q8_0 now",
            ),
            (
                v1::Engine { swa_full: true, ..engine.clone() },
                "with a cache of sliding windows as long as the window, which is whole now",
            ),
            (
                v1::Engine { kind: v1::engine::Kind::Openai.into(), ..engine.clone() },
                "with an engine of the kind ollama, which is openai now",
            ),
        ] {
            assert_eq!(told(other), sentence);
        }
        let other = v1::Model { digest: "d2".into(), ..model };
        let told = difference(&profile, &engine, &other).unwrap().to_string();
        assert_eq!(told, "with the model digest d1, which is d2 now");
    }

    #[test]
    fn a_cpu_is_not_taken_for_a_gpu() {
        let (profile, engine, model) = measured();
        let on_cpu = v1::Profile { gpu: String::new(), driver: String::new(), ..profile };
        assert!(difference(&on_cpu, &engine, &model).is_some());
        let cpu = v1::Engine { gpu: String::new(), driver: String::new(), ..engine };
        assert_eq!(difference(&on_cpu, &cpu, &model), None);
    }
}
