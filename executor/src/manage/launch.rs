//! What an engine is started with.

use caravan_proto::v1::Profile;

use super::Error;
use crate::options::{EngineOptions, Slots};

/// Slots where neither the configuration nor a profile says: half of where more of them were
/// measured to be worth little, for half the memory of the KV cache.
const DEFAULT_SLOTS: u32 = 4;
/// Context of one slot, in tokens, where neither says: small enough for the KV cache of four slots
/// of an 8B model to fit beside its weights on a card of 16 GB.
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
    /// As the entry of a managed engine says, else its profile, else the defaults.
    ///
    /// # Errors
    /// If the profile cannot be read.
    pub(crate) fn of(options: &EngineOptions) -> Result<Self, Error> {
        let managed = options.managed.clone().unwrap_or_default();
        let profile = managed.profile.as_deref().map(read).transpose()?.unwrap_or_default();
        let measured = |number: i64| u64::try_from(number).ok().filter(|number| *number > 0);
        let slots = match options.slots {
            Slots::Fixed(slots) => slots.get(),
            Slots::Auto => u32::try_from(profile.slots).ok().filter(|s| *s > 0).unwrap_or(DEFAULT_SLOTS),
        };
        Ok(Self {
            slots,
            context: options.max_context.or(measured(profile.max_context)).unwrap_or(DEFAULT_CONTEXT),
            batch: managed.batch.or(measured(profile.batch_tokens)).unwrap_or(0),
            kv_type: managed.kv_type.or(Some(profile.kv_type)).filter(|kv_type| !kv_type.is_empty()),
            swa_full: managed.swa_full.unwrap_or(profile.swa_full),
            model: managed.model.map(|path| path.display().to_string()),
        })
    }
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
        Launch::of(&toml::from_str(text).unwrap()).unwrap()
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
        let error = Launch::of(&toml::from_str(&text).unwrap()).unwrap_err().to_string();
        assert!(error.contains(&file.path().display().to_string()), "{error}");
    }
}
