//! `/api/chat`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use serde_json::Value;

use crate::engine::{Engine, Failure, Message};
use crate::vocabulary;

use super::ask::{Common, Text};
use super::body::Fields;
use super::deliver::{deliver, fail};
use super::line::{self, Native};

pub(super) async fn chat(State(engine): State<Arc<Engine>>, body: Bytes) -> Response {
    match Box::pin(answer(&engine, &body)).await {
        Ok(response) => response,
        Err(failure) => fail(&line::NATIVE_ERRORS, &failure),
    }
}

async fn answer(engine: &Arc<Engine>, body: &[u8]) -> Result<Response, Failure> {
    let mut fields = Fields::read("ChatRequest", body)?;
    let (messages, images) = take_messages(&mut fields)?;
    let common = Common::take(&mut fields)?;
    common.check(engine, "chat")?;
    if messages.is_empty() {
        let reason = common.load(engine).await?;
        return Ok(line::loaded(&common.model, true, reason));
    }
    if common.render_only {
        common.load(engine).await?;
        return Ok(line::rendered(&common.model, &vocabulary::rendered(&engine.options, &messages)));
    }
    let generation = common.begin(engine, Text { messages, images, raw: false }).await?;
    let form = Native { model: common.model, chat: true, context: false, logprobs: common.logprobs };
    deliver(form, generation, common.stream).await
}

/// The messages, and whether one of them has an image.
pub(super) fn take_messages(fields: &mut Fields) -> Result<(Vec<Message>, bool), Failure> {
    let mut images = false;
    let mut messages = Vec::new();
    for message in fields.array("messages", "[]api.Message")? {
        let Value::Object(mut message) = message else {
            return Err(Failure::new(
                400,
                "json: cannot unmarshal a message into Go value of type api.Message",
            ));
        };
        images |= message.get("images").and_then(Value::as_array).is_some_and(|images| !images.is_empty());
        let role = message.get("role").and_then(Value::as_str).unwrap_or_default().to_lowercase();
        let content = match message.remove("content") {
            Some(Value::String(text)) => text,
            Some(Value::Array(parts)) => text_of_parts(&parts, &mut images),
            _ => String::new(),
        };
        messages.push(Message { role, content });
    }
    Ok((messages, images))
}

/// Content in parts, as `/v1` allows it.
fn text_of_parts(parts: &[Value], images: &mut bool) -> String {
    *images |= parts.iter().any(|part| part["type"] == "image_url");
    parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n")
}
