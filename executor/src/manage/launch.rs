//! What an engine is started with.

use std::num::NonZeroU32;

use caravan_proto::v1::Profile;

use super::{Error, ManagedOptions};
use crate::options::{EngineOptions, Slots};

/// Slots where neither the configuration nor a profile says: half of where more of them were
/// measured to be worth little, for half the memory of the KV cache.
const DEFAULT_SLOTS: u32 = 4;
/// Context of one slot, in tokens, where neither says: the KV cache of four slots of an 8B model
/// then fits beside its weights on a card of 16 GB.
const DEFAULT_CONTEXT: u64 = 8_192;

/// How an engine is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Launch {
    /// Requests in parallel.
    pub(crate) slots: u32,
    /// Context of one slot, in tokens.
    pub(crate) context: u64,
    /// Prompt tokens evaluated at once; 0: the engine's own default.
    pub(crate) batch: u64,
    /// Type of the KV cache; none: the engine's own default.
    pub(crate) kv_type: Option<String>,
    /// Whether the whole cache of sliding-window layers is kept.
    pub(crate) swa_full: bool,
    /// Path of the model, for an engine that is started with one.
    pub(crate) model: Option<String>,
}

// === impl Launch ===

impl Launch {
    /// As the entry of a managed engine says, else the defaults.
    pub(crate) fn of(options: &EngineOptions) -> Self {
        let managed = options.managed.clone().unwrap_or_default();
        Self {
            slots: options.slots.or(Some(DEFAULT_SLOTS)),
            context: options.max_context.unwrap_or(DEFAULT_CONTEXT),
            batch: managed.batch.unwrap_or(0),
            kv_type: managed.kv_type,
            swa_full: managed.swa_full.unwrap_or(false),
            model: managed.model.map(|path| path.display().to_string()),
        }
    }
}

/// The entry of a managed engine with all that its profile says and it does not.
///
/// # Errors
/// If the profile cannot be read.
pub(super) fn with_profile(options: &EngineOptions) -> Result<EngineOptions, Error> {
    let mut options = options.clone();
    let Some(managed) = &mut options.managed else { return Ok(options) };
    let profile = managed.profile.take().map(|path| read(&path)).transpose()?.unwrap_or_default();
    let measured = |number: i64| u64::try_from(number).ok().filter(|number| *number > 0);
    let ManagedOptions { batch, kv_type, swa_full, .. } = managed;
    *batch = batch.or(measured(profile.batch_tokens));
    *kv_type = kv_type.take().or(Some(profile.kv_type)).filter(|kv_type| !kv_type.is_empty());
    *swa_full = swa_full.or(profile.swa_full.then_some(true));
    options.max_context = options.max_context.or(measured(profile.max_context));
    let slots = u32::try_from(profile.slots).ok().filter(|slots| *slots > 0).unwrap_or(DEFAULT_SLOTS);
    // Its lanes are as many as it is started with slots.
    if let (Slots::Auto, Some(slots)) = (options.slots, NonZeroU32::new(slots)) {
        options.slots = Slots::Fixed(slots);
    }
    Ok(options)
}

fn read(path: &std::path::Path) -> Result<Profile, Error> {
    let why = |why: String| Error::Profile { path: path.to_owned(), why };
    let text = std::fs::read_to_string(path).map_err(|error| why(error.to_string()))?;
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|error| why(error.to_string()))?;
    caravan_proto::json::from_value(&json).map_err(|error| why(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Launch {
        Launch::of(&with_profile(&toml::from_str(text).unwrap()).unwrap())
    }

    #[test]
    fn what_is_stated_wins_over_the_profile_and_that_over_the_defaults() {
        let bare = of("kind = 'ollama'\n[managed]");
        assert_eq!((bare.slots, bare.context, bare.batch), (DEFAULT_SLOTS, DEFAULT_CONTEXT, 0));
        assert_eq!((bare.kv_type, bare.swa_full, bare.model), (None, false, None));

        let file = tempfile::NamedTempFile::new().unwrap();
        let profile = Profile {
            slots: 12,
            max_context: 16_384,
            batch_tokens: 1_024,
            kv_type: "q8_0".into(),
            swa_full: true,
            ..Profile::default()
        };
        std::fs::write(file.path(), caravan_proto::json::to_value(&profile).to_string()).unwrap();
        let table = format!("[managed]\nprofile = '{}'", file.path().display());
        let measured = of(&format!("kind = 'ollama'\n{table}"));
        assert_eq!((measured.slots, measured.context, measured.batch), (12, 16_384, 1_024));
        assert_eq!((measured.kv_type.as_deref(), measured.swa_full), (Some("q8_0"), true));

        let stated = of(&format!(
            "kind = 'ollama'\nslots = 2\nmax_context = 2048\n{table}\nbatch = 512\nkv_type = 'f16'\nswa_full = false"
        ));
        assert_eq!((stated.slots, stated.context, stated.batch), (2, 2_048, 512));
        assert_eq!((stated.kv_type.as_deref(), stated.swa_full), (Some("f16"), false));
    }

    #[test]
    fn a_profile_that_cannot_be_read_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "{\"slots\": \"many\"}").unwrap();
        let text = format!("kind = 'ollama'\n[managed]\nprofile = '{}'", file.path().display());
        let error = with_profile(&toml::from_str(&text).unwrap()).unwrap_err().to_string();
        assert!(error.contains(&file.path().display().to_string()), "{error}");
    }
}
