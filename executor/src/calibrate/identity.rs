//! What a calibration was measured on: it holds for that and for nothing else.

use caravan_proto::v1::{self, engine};
use serde::{Deserialize, Serialize};

use crate::engine::same_model;

/// What was measured on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) host: String,
    pub(crate) model: String,
    pub(crate) model_digest: String,
    /// As the contract numbers them.
    pub(crate) engine_kind: i32,
    pub(crate) engine_version: String,
    /// Product names; empty for a CPU.
    pub(crate) gpu: String,
    pub(crate) driver: String,
    /// Empty if not known.
    pub(crate) kv_type: String,
    pub(crate) swa_full: bool,
    /// Of what measured: another version may measure otherwise.
    pub(crate) caravan_version: String,
}

// === impl Identity ===

impl Identity {
    /// Of `model` on `engine`, as its executor describes it.
    pub(crate) fn of(host: &str, engine: &v1::Engine, model: &v1::Model) -> Self {
        Self {
            host: host.to_owned(),
            model: model.name.clone(),
            model_digest: model.digest.clone(),
            engine_kind: engine.kind,
            engine_version: engine.version.clone(),
            gpu: engine.gpu.clone(),
            driver: engine.driver.clone(),
            kv_type: engine.kv_type.clone(),
            swa_full: engine.swa_full,
            caravan_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Why `profile` does not hold for `engine` as it is now; none if it does. A profile of a model that the
/// engine does not have holds for nothing on it.
pub(crate) fn mismatch(profile: &v1::Profile, engine: &v1::Engine) -> Option<String> {
    let Some(model) = engine.models.iter().find(|model| same_model(&model.name, &profile.model)) else {
        return Some(format!("the engine has no model {}", profile.model));
    };
    let kind = |number: i32| engine::Kind::try_from(number).map_or("", |kind| kind.as_str_name()).to_owned();
    let pairs = [
        ("kind of engine", kind(profile.engine_kind), kind(engine.kind)),
        ("engine version", profile.engine_version.clone(), engine.version.clone()),
        ("model digest", profile.model_digest.clone(), model.digest.clone()),
        ("GPU", profile.gpu.clone(), engine.gpu.clone()),
        ("driver", profile.driver.clone(), engine.driver.clone()),
        ("KV type", profile.kv_type.clone(), engine.kv_type.clone()),
    ];
    let (what, was, is) = pairs.into_iter().find(|(_, was, is)| was != is)?;
    Some(format!("measured with {what} `{was}`, which is `{is}` now"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_holds_for_what_it_was_measured_on() {
        let model = v1::Model { name: "m:latest".into(), digest: "d".into(), ..Default::default() };
        let engine = v1::Engine {
            kind: engine::Kind::Ollama.into(),
            version: "0.33".into(),
            gpu: "H200".into(),
            driver: "580".into(),
            kv_type: "f16".into(),
            models: vec![model],
            ..Default::default()
        };
        let profile = v1::Profile {
            model: "m".into(),
            model_digest: "d".into(),
            engine_kind: engine.kind,
            engine_version: engine.version.clone(),
            gpu: engine.gpu.clone(),
            driver: engine.driver.clone(),
            kv_type: engine.kv_type.clone(),
            ..Default::default()
        };
        assert_eq!(mismatch(&profile, &engine), None);
        let changed = |change: fn(&mut v1::Profile)| {
            let mut profile = profile.clone();
            change(&mut profile);
            mismatch(&profile, &engine).unwrap()
        };
        for (why, change) in [
            ("no model", (|profile| profile.model = "n".into()) as fn(&mut v1::Profile)),
            ("engine version", |profile| profile.engine_version = "0.34".into()),
            ("digest", |profile| profile.model_digest = "e".into()),
            ("GPU", |profile| profile.gpu = "H100".into()),
            ("driver", |profile| profile.driver = "581".into()),
            ("KV type", |profile| profile.kv_type = "q8_0".into()),
            ("kind", |profile| profile.engine_kind = engine::Kind::Openai.into()),
        ] {
            let said = changed(change);
            assert!(said.contains(why), "{said}");
        }
    }
}
