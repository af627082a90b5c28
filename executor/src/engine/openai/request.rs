//! A call as an OpenAI-compatible server gets it: never streamed, and to the end of the context
//! where no limit is stated.

use caravan_request::{Endpoint, EngineKind};
use serde_json::{Map, Value, json};

use super::native;
use crate::engine::body::{self, Body};
use crate::engine::{Call, Failure, image};

/// One HTTP request.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::engine) struct Request {
    pub(in crate::engine) path: &'static str,
    pub(in crate::engine) body: Value,
    /// Tokens that prompt and answer may come to, where that is known: sets the deadline.
    pub(in crate::engine) tokens: u64,
}

/// `context` is what a slot has, in tokens; 0 if that is not known.
pub(in crate::engine) fn translate(call: &Call<'_>, context: u64) -> Result<Request, Failure> {
    let body = Body::of(call, EngineKind::OpenAi)?;
    let (endpoint, fields, stated) = match call.endpoint {
        Endpoint::ChatCompletions => (call.endpoint, chat(&body)?, body::stated_limit(&body)?),
        Endpoint::Completions => (call.endpoint, completion(&body)?, body::stated_limit(&body)?),
        Endpoint::Embeddings => (call.endpoint, embeddings(&body)?, None),
        Endpoint::OllamaChat | Endpoint::OllamaGenerate | Endpoint::OllamaEmbed => {
            native::translate(call.endpoint, &body)?
        }
    };
    Ok(seal(call, context, endpoint, fields, stated))
}

fn seal(
    call: &Call<'_>,
    context: u64,
    endpoint: Endpoint,
    mut fields: Map<String, Value>,
    stated: Option<u64>,
) -> Request {
    let mut sealed = Map::new();
    sealed.insert("model".to_owned(), json!(call.model));
    sealed.append(&mut fields);
    let mut tokens = call.prompt_tokens;
    if !endpoint.is_embedding() {
        let limit = stated.or((call.answer_tokens > 0).then_some(call.answer_tokens));
        tokens = limit.map_or(context.max(tokens), |limit| tokens.saturating_add(limit));
        // A chat without the field goes to the context's end everywhere. A completion would stop
        // after 16 tokens on vLLM, unless it says null, which llama-server reads as absent.
        if limit.is_some() || endpoint == Endpoint::Completions {
            sealed.insert("max_tokens".to_owned(), json!(limit));
        }
    }
    Request { path: endpoint.as_str(), body: Value::Object(sealed), tokens }
}

const SAME_IN_CHAT: &[&str] = &[
    "n",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "stop",
    "frequency_penalty",
    "presence_penalty",
    "response_format",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "chat_template_kwargs",
];

fn chat(body: &Body<'_>) -> Result<Map<String, Value>, Failure> {
    let mut fields = Map::new();
    fields.insert("messages".to_owned(), messages(body)?);
    body.object("chat_template_kwargs")?;
    body.copy(SAME_IN_CHAT, &mut fields);
    repetition(body, &mut fields);
    if let Some(effort) = body.text("reasoning_effort")? {
        reason(effort, &mut fields);
    }
    Ok(fields)
}

/// vLLM has a field for the effort, without `none`; templates have variables, which both servers
/// pass on and which a template that does not know them ignores.
pub(super) fn reason(effort: &str, fields: &mut Map<String, Value>) {
    think(effort != "none", fields);
    if effort != "none" {
        fields.insert("reasoning_effort".to_owned(), json!(effort));
        template_variable("reasoning_effort", json!(effort), fields);
    }
}

/// Thinking on or off.
pub(super) fn think(on: bool, fields: &mut Map<String, Value>) {
    template_variable("enable_thinking", json!(on), fields);
}

/// Sets a variable, unless the client did.
fn template_variable(name: &str, value: Value, fields: &mut Map<String, Value>) {
    let variables = fields.entry("chat_template_kwargs").or_insert_with(|| json!({}));
    if let Value::Object(variables) = variables {
        variables.entry(name).or_insert(value);
    }
}

/// What llama-server knows and OpenAI does not. `repeat_penalty` under vLLM's name too: each
/// server ignores the other's.
pub(super) fn repetition(body: &Body<'_>, fields: &mut Map<String, Value>) {
    body.copy(&["typical_p", "repeat_last_n", "repeat_penalty"], fields);
    if let Some(penalty) = body.get("repeat_penalty") {
        fields.insert("repetition_penalty".to_owned(), penalty.clone());
    }
}

/// Messages as they are, but `developer` as `system`, which every template knows, and no image
/// by URL: an engine shall not fetch what a client names.
fn messages(body: &Body<'_>) -> Result<Value, Failure> {
    let known = ["role", "content", "name", "tool_calls", "tool_call_id", "reasoning_content"];
    body.objects("messages")?
        .iter()
        .map(|message| {
            message.only(&known)?;
            if message.get("content").is_some_and(Value::is_array) {
                message.objects("content")?.iter().try_for_each(part)?;
            }
            let mut to = Map::new();
            message.copy(&known, &mut to);
            match message.text("role")? {
                Some("developer") => _ = to.insert("role".to_owned(), json!("system")),
                Some("system" | "user" | "assistant" | "tool") => {}
                _ => {
                    return Err(message.invalid("role", "must be system, developer, user, assistant or tool"));
                }
            }
            // Absent content of a message with tool calls is null to some templates.
            to.entry("content").or_insert(Value::Null);
            Ok(Value::Object(to))
        })
        .collect()
}

fn part(part: &Body<'_>) -> Result<(), Failure> {
    match part.text("type")? {
        Some("text") => Ok(()),
        Some("image_url") => {
            let found = part.object("image_url")?;
            let url =
                found.as_ref().map(|found| found.text("url")).transpose()?.flatten().unwrap_or_default();
            match image::from_data_uri(url) {
                Some(_) => Ok(()),
                None => Err(part
                    .unsupported("image_url.url", "only a data URI of an image in base64 can be honoured")),
            }
        }
        _ => Err(part.unsupported("type", "only text and image_url can be honoured")),
    }
}

const SAME_IN_COMPLETIONS: &[&str] = &[
    "n",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "stop",
    "frequency_penalty",
    "presence_penalty",
    "logprobs",
    "echo",
    "logit_bias",
];

/// One prompt: a string, a list with one string, or tokens.
fn completion(body: &Body<'_>) -> Result<Map<String, Value>, Failure> {
    let prompt = match body.get("prompt") {
        Some(Value::Array(list)) => match list.as_slice() {
            [one @ Value::String(_)] => one.clone(),
            tokens if !tokens.is_empty() && tokens.iter().all(Value::is_u64) => json!(tokens),
            _ => return Err(body.unsupported("prompt", "only one prompt can be honoured")),
        },
        Some(prompt @ Value::String(_)) => prompt.clone(),
        _ => return Err(body.invalid("prompt", "must be a string or a list of tokens")),
    };
    let mut fields = Map::new();
    fields.insert("prompt".to_owned(), prompt);
    body.only_value("best_of", &json!(1))?;
    repetition(body, &mut fields);
    body.copy(SAME_IN_COMPLETIONS, &mut fields);
    Ok(fields)
}

/// Always asked for as numbers; written as base64 here, where that was wanted.
fn embeddings(body: &Body<'_>) -> Result<Map<String, Value>, Failure> {
    if body.get("input").is_none() {
        return Err(body.invalid("input", "must be a string, or a list of strings or tokens"));
    }
    let mut fields = Map::new();
    body.copy(&["input", "dimensions"], &mut fields);
    fields.insert("encoding_format".to_owned(), json!("float"));
    Ok(fields)
}
