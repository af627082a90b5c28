//! `/v1`: models, chat completions and completions. It has no truncate, no shift and no context: a prompt
//! that is too long is always cut, without a word.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value, json};

use crate::engine::{Engine, Failure, Message, Overflow};
use crate::library::Model;

use super::ask::{Common, Text};
use super::body::Fields;
use super::chat::take_messages;
use super::deliver::{deliver, fail};
use super::v1_form::{V1, V1Errors};

/// When all models were made, in seconds since 1970.
const CREATED: i64 = 1_767_225_600;

pub(super) async fn models(State(engine): State<Arc<Engine>>) -> Response {
    let one = |model: &Model| json!({"id": model.name, "object": "model", "created": CREATED, "owned_by": "library"});
    let data: Vec<Value> = engine.library.models().iter().map(one).collect();
    super::json(200, "application/json", json!({"object": "list", "data": data}).to_string() + "\n")
}

pub(super) async fn chat(State(engine): State<Arc<Engine>>, body: Bytes) -> Response {
    respond(&engine, &body, true).await
}

pub(super) async fn completions(State(engine): State<Arc<Engine>>, body: Bytes) -> Response {
    respond(&engine, &body, false).await
}

async fn respond(engine: &Arc<Engine>, body: &[u8], chat: bool) -> Response {
    match Box::pin(answer(engine, body, chat)).await {
        Ok(response) => response,
        Err(failure) => fail(&errors(engine), &failure),
    }
}

async fn answer(engine: &Arc<Engine>, body: &[u8], chat: bool) -> Result<Response, Failure> {
    let kind = if chat { "ChatCompletionRequest" } else { "CompletionRequest" };
    let mut fields = Fields::read(kind, body)?;
    let (messages, images) = if chat {
        take_messages(&mut fields)?
    } else {
        let content = fields.string("prompt")?.unwrap_or_default();
        (vec![Message { role: "user".into(), content }], false)
    };
    if messages.is_empty() {
        return Err(Failure::new(400, "[] is too short - 'messages'"));
    }
    let stream = fields.bool("stream")?.unwrap_or(false);
    let usage = fields.object("stream_options")?.get("include_usage") == Some(&json!(true));
    let options = options(&mut fields)?;
    let common = Common {
        keep_alive: fields.keep_alive()?,
        stream,
        overflow: Overflow { truncate: true, shift: true, native: false },
        format: format(fields.object("response_format")?),
        options,
        logprobs: false,
        render_only: false,
        tools: !fields.array("tools", "[]api.Tool")?.is_empty(),
        think: false,
        model: fields.model()?,
    };
    common.check(engine, "chat")?;
    let generation = common.begin(engine, Text { messages, images, raw: !chat }).await?;
    deliver(V1 { model: common.model, chat, usage, errors: errors(engine) }, generation, stream).await
}

pub(super) fn errors(engine: &Engine) -> V1Errors {
    V1Errors { v0_33: engine.options.is_v0_33() }
}

/// The native options that the fields of `/v1` come to.
fn options(fields: &mut Fields) -> Result<Map<String, Value>, Failure> {
    let mut options = Map::new();
    let limit = fields.value("max_tokens").or(fields.value("max_completion_tokens"));
    if let Some(limit) = limit {
        options.insert("num_predict".into(), limit);
    }
    match fields.value("stop") {
        Some(stop @ Value::String(_)) => drop(options.insert("stop".into(), json!([stop]))),
        Some(stops @ Value::Array(_)) => drop(options.insert("stop".into(), stops)),
        Some(_) => return Err(Failure::new(400, "invalid type for 'stop' field")),
        None => {}
    }
    Ok(options)
}

fn format(mut asked: Map<String, Value>) -> Option<Value> {
    match asked.get("type").and_then(Value::as_str) {
        Some("json_object") => Some(json!("json")),
        Some("json_schema") => {
            asked.get_mut("json_schema").and_then(|named| named.get_mut("schema")).map(Value::take)
        }
        _ => None,
    }
}
