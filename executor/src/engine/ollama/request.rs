//! A call as Ollama's native API gets it.
//!
//! Never streamed, never truncated, never shifted, kept loaded, thinking only if asked, always
//! with the options of the reload set and always with a limit: every one of these, left out,
//! makes Ollama reload the model, cut the prompt, or answer without end.

use caravan_request::{Endpoint, EngineKind};
use serde_json::{Map, Value, json};

use super::{chat, wire};
use crate::engine::body::{self, Body};
use crate::engine::{Call, Failure, ReloadSet};

/// One HTTP request.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::engine) struct Request {
    pub(in crate::engine) path: &'static str,
    pub(in crate::engine) body: Value,
    /// Tokens that prompt and answer may come to, where that is known: sets the deadline.
    pub(in crate::engine) tokens: u64,
}

/// What an endpoint's fields come to, before the part that is the same for all.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) fields: Map<String, Value>,
    pub(super) options: Map<String, Value>,
    /// Answer tokens that the body states.
    pub(super) limit: Option<u64>,
}

/// `context` is what a slot has, in tokens; 0 if that is not known.
pub(in crate::engine) fn translate(call: &Call<'_>, context: u64) -> Result<Request, Failure> {
    let body = Body::of(call, EngineKind::Ollama)?;
    let (path, parts) = match call.endpoint {
        Endpoint::ChatCompletions => ("/api/chat", chat::translate(&body)?),
        Endpoint::Completions => ("/api/generate", completion(&body)?),
        Endpoint::Embeddings => ("/api/embed", embeddings(&body)?),
        Endpoint::OllamaChat => ("/api/chat", native(&body, NATIVE_CHAT)?),
        Endpoint::OllamaGenerate => ("/api/generate", native(&body, NATIVE_GENERATE)?),
        Endpoint::OllamaEmbed => ("/api/embed", native(&body, NATIVE_EMBED)?),
    };
    Ok(seal(call, context, path, parts))
}

/// The empty prompt that makes Ollama load `model` with exactly this set; to embed with a
/// model that can, or for one that does nothing else, an empty list of inputs.
pub(super) fn load(model: &str, set: ReloadSet, traits: wire::Traits) -> Request {
    let mut options = Map::new();
    freeze(set, &mut options);
    let (path, body) = if traits.embedding && (set.embedding || !traits.chat) {
        let body =
            json!({ "model": model, "input": [], "truncate": false, "keep_alive": -1, "options": options });
        ("/api/embed", body)
    } else {
        let body = json!({
            "model": model, "prompt": "", "stream": false, "shift": false, "keep_alive": -1, "options": options,
        });
        ("/api/generate", body)
    };
    Request { path, body, tokens: 0 }
}

fn freeze(set: ReloadSet, options: &mut Map<String, Value>) {
    if set.context > 0 {
        options.insert("num_ctx".to_owned(), json!(set.context));
    }
    if set.batch > 0 {
        options.insert("num_batch".to_owned(), json!(set.batch));
    }
}

fn seal(call: &Call<'_>, context: u64, path: &'static str, parts: Parts) -> Request {
    let Parts { mut fields, mut options, limit } = parts;
    let mut sealed = Map::new();
    sealed.insert("model".to_owned(), json!(call.model));
    sealed.append(&mut fields);
    sealed.insert("truncate".to_owned(), json!(false));
    sealed.insert("keep_alive".to_owned(), json!(-1));
    freeze(call.set, &mut options);
    let mut tokens = call.prompt_tokens;
    if !call.endpoint.is_embedding() {
        sealed.insert("stream".to_owned(), json!(false));
        sealed.insert("shift".to_owned(), json!(false));
        sealed.entry("think").or_insert(json!(false));
        if let Some(limit) = answer_limit(call, limit, context) {
            options.insert("num_predict".to_owned(), json!(limit));
            let most = if context > 0 { context } else { u64::MAX };
            tokens = tokens.saturating_add(limit).min(most);
        }
    }
    sealed.insert("options".to_owned(), Value::Object(options));
    Request { path, body: Value::Object(sealed), tokens }
}

/// What the body states, else what the plan allows, else the slot's whole context: without
/// `shift` an answer ends where the context does, and a prompt that was estimated too long must
/// not cut it earlier. `None` only if the context is not known.
fn answer_limit(call: &Call<'_>, stated: Option<u64>, context: u64) -> Option<u64> {
    let planned = (call.answer_tokens > 0).then_some(call.answer_tokens);
    stated.or(planned).or((context > 0).then_some(context))
}

const NATIVE_CHAT: &[&str] = &["messages", "tools", "format", "think", "logprobs", "top_logprobs"];
const NATIVE_GENERATE: &[&str] = &[
    "prompt",
    "suffix",
    "images",
    "format",
    "system",
    "template",
    "raw",
    "think",
    "logprobs",
    "top_logprobs",
];
const NATIVE_EMBED: &[&str] = &["input", "dimensions"];

/// A native body: its fields as they are, without those that `seal` sets.
fn native(body: &Body<'_>, copied: &[&str]) -> Result<Parts, Failure> {
    let mut parts = Parts::default();
    body.copy(copied, &mut parts.fields);
    let options = body.native_options()?;
    parts.limit = body::stated_num_predict(options.as_ref())?;
    if let Some(options) = options {
        options.copy(body::OPTIONS, &mut parts.options);
        parts.options.remove("num_predict");
    }
    Ok(parts)
}

/// A completion has no template around it: that is what `raw` means. Only to fill a gap before
/// a `suffix` the model's template is needed.
fn completion(body: &Body<'_>) -> Result<Parts, Failure> {
    body.only_value("n", &json!(1))?;
    body.only_value("best_of", &json!(1))?;
    body.only_value("echo", &json!(false))?;
    let mut parts = Parts { limit: body::stated_limit(body)?, ..Parts::default() };
    parts.fields.insert("prompt".to_owned(), json!(one_prompt(body)?));
    match body.text("suffix")?.filter(|suffix| !suffix.is_empty()) {
        Some(suffix) => parts.fields.insert("suffix".to_owned(), json!(suffix)),
        None => parts.fields.insert("raw".to_owned(), json!(true)),
    };
    if let Some(top) = body.count("logprobs")? {
        parts.fields.insert("logprobs".to_owned(), json!(true));
        parts.fields.insert("top_logprobs".to_owned(), json!(top));
    }
    sampling(body, &mut parts.options);
    Ok(parts)
}

fn one_prompt<'a>(body: &Body<'a>) -> Result<&'a str, Failure> {
    match body.get("prompt") {
        Some(Value::String(prompt)) => Ok(prompt),
        Some(Value::Array(prompts)) => {
            match prompts.as_slice() {
                [Value::String(prompt)] => Ok(prompt),
                _ => Err(body
                    .unsupported("prompt", "only one string can be honoured: no tokens, no further prompts")),
            }
        }
        _ => Err(body.invalid("prompt", "must be a string")),
    }
}

fn embeddings(body: &Body<'_>) -> Result<Parts, Failure> {
    let strings = match body.get("input") {
        Some(Value::Array(inputs)) => inputs.iter().all(Value::is_string),
        Some(input) => input.is_string(),
        None => return Err(body.invalid("input", "must be a string or a list of strings")),
    };
    if !strings {
        return Err(body.unsupported("input", "only strings can be honoured, no tokens"));
    }
    let mut parts = Parts::default();
    body.copy(&["input", "dimensions"], &mut parts.fields);
    Ok(parts)
}

/// The sampling fields that have one name in both APIs.
pub(super) fn sampling(body: &Body<'_>, options: &mut Map<String, Value>) {
    let same = ["temperature", "top_p", "top_k", "min_p", "seed", "frequency_penalty", "presence_penalty"];
    body.copy(&same, options);
    body.copy_stop(options);
}
