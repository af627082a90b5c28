//! `/api/generate`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;

use crate::engine::{Engine, Failure, Message};

use super::ask::{Common, Text};
use super::body::Fields;
use super::deliver::{deliver, fail};
use super::line::{self, Native};

pub(super) async fn generate(State(engine): State<Arc<Engine>>, body: Bytes) -> Response {
    match Box::pin(answer(&engine, &body)).await {
        Ok(response) => response,
        Err(failure) => fail(&line::NATIVE_ERRORS, &failure),
    }
}

async fn answer(engine: &Arc<Engine>, body: &[u8]) -> Result<Response, Failure> {
    let mut fields = Fields::read("GenerateRequest", body)?;
    let prompt = fields.string("prompt")?.unwrap_or_default();
    let system = fields.string("system")?.filter(|system| !system.is_empty());
    let raw = fields.bool("raw")?.unwrap_or(false);
    let images = !fields.array("images", "[]api.ImageData")?.is_empty();
    let common = Common::take(&mut fields)?;
    common.check(engine, "generate")?;
    if prompt.is_empty() {
        let reason = common.load(engine).await?;
        return Ok(line::loaded(&common.model, false, reason));
    }
    let mut messages = vec![Message { role: "user".into(), content: prompt }];
    if let Some(content) = system.filter(|_| !raw) {
        messages.insert(0, Message { role: "system".into(), content });
    }
    let generation = common.begin(engine, Text { messages, images, raw }).await?;
    let form = Native { model: common.model, chat: false, context: !raw, logprobs: common.logprobs };
    deliver(form, generation, common.stream).await
}
