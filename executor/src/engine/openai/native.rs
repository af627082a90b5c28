//! Ollama's native bodies in OpenAI's words.

use caravan_request::Endpoint;
use serde_json::{Map, Value, json};

use super::request::{reason, repetition, think};
use crate::engine::body::{self, Body};
use crate::engine::{Failure, image};

/// The endpoint that serves a native body, its fields, and the answer tokens that it states.
pub(super) type Translated = (Endpoint, Map<String, Value>, Option<u64>);

pub(super) fn translate(endpoint: Endpoint, body: &Body<'_>) -> Result<Translated, Failure> {
    let options = body.native_options()?;
    let limit = body::stated_num_predict(options.as_ref())?;
    let raw = body.flag("raw")?.unwrap_or_default();
    let (to, mut fields) = match endpoint {
        Endpoint::OllamaEmbed => (Endpoint::Embeddings, embed(body)?),
        Endpoint::OllamaGenerate if raw => (Endpoint::Completions, raw_prompt(body)?),
        Endpoint::OllamaGenerate => (Endpoint::ChatCompletions, prompt(body)?),
        _ => (Endpoint::ChatCompletions, chat(body)?),
    };
    if let Some(options) = &options {
        sampling(options, &mut fields);
    }
    Ok((to, fields, limit))
}

fn sampling(options: &Body<'_>, fields: &mut Map<String, Value>) {
    let same = ["temperature", "top_p", "top_k", "min_p", "seed", "presence_penalty", "frequency_penalty"];
    options.copy(&same, fields);
    options.copy_stop(fields);
    repetition(options, fields);
}

fn chat(body: &Body<'_>) -> Result<Map<String, Value>, Failure> {
    let mut fields = Map::new();
    let mut ids = Ids::default();
    let messages = body.objects("messages")?;
    let messages = messages.iter().map(|from| message(from, &mut ids)).collect::<Result<Value, _>>()?;
    fields.insert("messages".to_owned(), messages);
    body.copy(&["tools"], &mut fields);
    asked(body, &mut fields)?;
    Ok(fields)
}

/// A prompt in the model's template is a chat of one message, or two with `system`.
fn prompt(body: &Body<'_>) -> Result<Map<String, Value>, Failure> {
    let mut messages = Vec::new();
    if let Some(system) = body.text("system")?.filter(|system| !system.is_empty()) {
        messages.push(json!({ "role": "system", "content": system }));
    }
    let text = body.text("prompt")?.unwrap_or_default();
    if text.is_empty() {
        return Err(body.invalid("prompt", "must not be empty"));
    }
    messages.push(json!({ "role": "user", "content": content(body, text)? }));
    let mut fields = Map::new();
    fields.insert("messages".to_owned(), json!(messages));
    asked(body, &mut fields)?;
    Ok(fields)
}

fn raw_prompt(body: &Body<'_>) -> Result<Map<String, Value>, Failure> {
    for field in ["system", "images", "format", "think", "logprobs", "top_logprobs"] {
        body.only_value(field, &json!(false))
            .map_err(|_| body.unsupported(field, "this kind of engine cannot honour it with a raw prompt"))?;
    }
    let Some(prompt) = body.text("prompt")?.filter(|prompt| !prompt.is_empty()) else {
        return Err(body.invalid("prompt", "must not be empty"));
    };
    Ok(Map::from_iter([("prompt".to_owned(), json!(prompt))]))
}

fn embed(body: &Body<'_>) -> Result<Map<String, Value>, Failure> {
    if body.get("input").is_none() {
        return Err(body.invalid("input", "must be a string or a list of strings"));
    }
    let mut fields = Map::new();
    body.copy(&["input", "dimensions"], &mut fields);
    fields.insert("encoding_format".to_owned(), json!("float"));
    Ok(fields)
}

/// What chats and prompts may ask for alike: form, thoughts, probabilities.
fn asked(body: &Body<'_>, fields: &mut Map<String, Value>) -> Result<(), Failure> {
    let form = match body.get("format") {
        None => None,
        Some(Value::String(name)) if name.is_empty() => None,
        Some(Value::String(name)) if name == "json" => Some(json!({ "type": "json_object" })),
        Some(Value::Object(schema)) => Some(json!({
            "type": "json_schema",
            "json_schema": { "name": "answer", "schema": schema, "strict": true },
        })),
        Some(_) => return Err(body.invalid("format", "must be \"json\" or a JSON schema")),
    };
    if let Some(form) = form {
        fields.insert("response_format".to_owned(), form);
    }
    match body.get("think") {
        None => {}
        Some(Value::Bool(on)) => think(*on, fields),
        Some(Value::String(level)) => reason(level, fields),
        Some(_) => return Err(body.invalid("think", "must be a boolean or a level")),
    }
    body.copy(&["logprobs", "top_logprobs"], fields);
    Ok(())
}

/// Ids of tool calls: OpenAI wants one on each call and on its answer, native bodies may have
/// neither. Answers without id are taken in the order of the calls.
#[derive(Default)]
struct Ids {
    made: usize,
    open: std::collections::VecDeque<String>,
}

fn message(from: &Body<'_>, ids: &mut Ids) -> Result<Value, Failure> {
    let known = ["role", "content", "thinking", "images", "tool_calls", "tool_name", "tool_call_id"];
    from.only(&known)?;
    let role = from.text("role")?.map(str::to_lowercase).unwrap_or_default();
    if !["system", "user", "assistant", "tool"].contains(&role.as_str()) {
        return Err(from.invalid("role", "must be system, user, assistant or tool"));
    }
    let text = from.text("content")?.unwrap_or_default();
    let mut to = json!({ "role": role, "content": content(from, text)? });
    if let Some(thinking) = from.text("thinking")? {
        to["reasoning_content"] = json!(thinking);
    }
    let calls = from.objects("tool_calls")?;
    if !calls.is_empty() {
        to["tool_calls"] = calls.iter().map(|call| tool_call(call, ids)).collect::<Result<_, _>>()?;
    }
    if role == "tool" {
        let next = ids.open.pop_front();
        let id = from.text("tool_call_id")?.map(str::to_owned).or(next);
        to["tool_call_id"] = json!(id.unwrap_or_default());
        if let Some(name) = from.text("tool_name")? {
            to["name"] = json!(name);
        }
    }
    Ok(to)
}

fn tool_call(call: &Body<'_>, ids: &mut Ids) -> Result<Value, Failure> {
    let Some(function) = call.object("function")? else {
        return Err(call.invalid("function", "must be an object"));
    };
    let id = match call.text("id")? {
        Some(id) => id.to_owned(),
        None => format!("call_{}", ids.made),
    };
    ids.made += 1;
    ids.open.push_back(id.clone());
    let arguments = function.get("arguments").map_or_else(|| "{}".to_owned(), Value::to_string);
    let name = function.text("name")?.unwrap_or_default();
    Ok(json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } }))
}

/// The text alone, or in parts with the images of `from`.
fn content(from: &Body<'_>, text: &str) -> Result<Value, Failure> {
    let Some(images) = from.list("images")?.filter(|images| !images.is_empty()) else {
        return Ok(json!(text));
    };
    let mut parts = vec![json!({ "type": "text", "text": text })];
    for image in images {
        let uri = image.as_str().and_then(image::to_data_uri);
        let uri = uri.ok_or_else(|| from.invalid("images", "must be PNG, JPEG, GIF or WebP in base64"))?;
        parts.push(json!({ "type": "image_url", "image_url": { "url": uri } }));
    }
    Ok(json!(parts))
}
