//! Ollama's answers as they come: every field optional, unknown ones ignored.

use std::collections::HashMap;

use caravan_tokenize::Metadata;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::engine::{Failure, Loaded, same_model};

/// `/api/version`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Version {
    pub(super) version: String,
}

/// `/api/tags`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Tags {
    pub(super) models: Vec<Tag>,
}

/// One model of `/api/tags`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Tag {
    pub(super) name: String,
    pub(super) digest: String,
    /// Bytes of its files.
    pub(super) size: u64,
    /// Set for models that another host answers for.
    pub(super) remote_host: String,
}

/// `/api/show`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Show {
    pub(super) capabilities: Vec<String>,
    pub(super) template: String,
    pub(super) model_info: Map<String, Value>,
}

/// A chat that was only rendered.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Rendered {
    #[serde(rename = "_debug_info")]
    pub(super) debug_info: Option<DebugInfo>,
}

/// What a template made of a chat.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DebugInfo {
    pub(super) rendered_template: String,
}

/// `/api/ps`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Ps {
    pub(super) models: Vec<Running>,
}

/// One model of `/api/ps`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Running {
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) size_vram: u64,
    pub(super) context_length: u64,
}

/// What `/api/show` says that Caravan needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Traits {
    pub(super) chat: bool,
    pub(super) embedding: bool,
    pub(super) max_context: Option<u64>,
    /// Window of its sliding-window attention, in tokens.
    pub(super) sliding_window: Option<u64>,
}

// === impl Show ===

impl Show {
    pub(super) fn traits(&self) -> Traits {
        let can = |name: &str| self.capabilities.iter().any(|capability| capability == name);
        let info = Metadata::from_model_info(&self.model_info);
        // A release without capabilities says nothing: then a refusal has to tell.
        let silent = self.capabilities.is_empty();
        Traits {
            chat: silent || can("completion"),
            embedding: silent || can("embedding"),
            max_context: info.context_length(),
            sliding_window: info.sliding_window(),
        }
    }
}

// === impl Ps ===

impl Ps {
    pub(super) fn find(&self, model: &str) -> Option<Loaded> {
        let running = self.models.iter().find(|running| same_model(&running.name, model))?;
        Some(running.loaded())
    }
}

// === impl Running ===

impl Running {
    pub(super) fn loaded(&self) -> Loaded {
        Loaded { context: self.context_length, size: self.size, size_vram: self.size_vram }
    }
}

/// The one object that a body amounts to: itself, or the lines of a stream put together.
/// An `error` line wins, wherever it stands.
pub(super) fn whole(body: &[u8]) -> Result<Map<String, Value>, Failure> {
    let mut whole: Option<Map<String, Value>> = None;
    for line in serde_json::Deserializer::from_slice(body).into_iter::<Map<String, Value>>() {
        let mut line = line.map_err(|error| Failure::unreadable(&error))?;
        if line.contains_key("error") {
            return Ok(line);
        }
        if let Some(before) = whole.take() {
            prepend(&before, &mut line, "response");
            if let (Some(Value::Object(before)), Some(Value::Object(after))) =
                (before.get("message"), line.get_mut("message"))
            {
                prepend(before, after, "content");
            }
        }
        whole = Some(line);
    }
    whole.ok_or_else(|| Failure::unreadable(&"empty"))
}

fn prepend(before: &Map<String, Value>, after: &mut Map<String, Value>, field: &str) {
    if let (Some(Value::String(head)), Some(Value::String(tail))) = (before.get(field), after.get_mut(field))
    {
        tail.insert_str(0, head);
    }
}

/// Traits of models by digest, so that a probe asks `/api/show` once a model.
pub(super) type Shown = HashMap<String, Traits>;
