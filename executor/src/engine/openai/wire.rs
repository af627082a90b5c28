//! What OpenAI-compatible servers say of themselves: every field optional, unknown ones ignored.

use serde::Deserialize;

/// `/v1/models`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Models {
    pub(super) data: Vec<Listed>,
}

/// One model of `/v1/models`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Listed {
    pub(super) id: String,
    /// vLLM: tokens of prompt and answer together.
    pub(super) max_model_len: Option<u64>,
}

/// llama-server's `/props`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Props {
    pub(super) total_slots: Option<u32>,
    pub(super) default_generation_settings: Settings,
    pub(super) build_info: String,
    /// The file of its model, on its own host.
    pub(super) model_path: String,
    /// The template in force, in Jinja.
    pub(super) chat_template: String,
}

/// llama-server's settings of a slot.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Settings {
    /// Context of one slot, in tokens.
    pub(super) n_ctx: Option<u64>,
}

/// llama-server's `/apply-template`
#[derive(Debug, Deserialize)]
pub(super) struct Applied {
    pub(super) prompt: String,
}

/// vLLM's `/version`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Version {
    pub(super) version: String,
}
