//! Ollama's answers, checked and written in the form of the endpoint. A status of 200 is no
//! success by itself: an aborted answer has it too.

use std::time::Duration;

use caravan_request::Endpoint;
use serde_json::{Map, Value};

use super::wire;
use crate::engine::answer::{Answer, Stamp, ToolCall, Usage, Vectors};
use crate::engine::connection::Reply;
use crate::engine::{Call, Class, Failure, Response, Timings, guard, render};

/// The answer to `call`, whichever endpoint it named. `counts_prompt` is false for a release
/// whose `prompt_eval_count` leaves out what came from the cache.
pub(super) fn read(
    call: &Call<'_>,
    reply: &Reply,
    counts_prompt: bool,
    stamp: Stamp,
) -> Result<Response, Failure> {
    if !reply.is_success() {
        return Err(Failure::refused(reply.status, &reply.text(), Some(call.endpoint)));
    }
    let mut body = wire::whole(&reply.body)?;
    if body.contains_key("error") {
        return Err(Failure::refused(200, &Value::Object(body).to_string(), Some(call.endpoint)));
    }
    if call.endpoint.is_embedding() {
        return embeddings(call, &mut body);
    }
    let answer = answer(&body)?;
    if counts_prompt {
        guard::check(call, answer.usage.prompt)?;
    }
    if answer.logprobs.is_none() && wants_logprobs(call.body) {
        return Err(Failure::unsupported("logprobs", "this release of Ollama does not give them"));
    }
    let written = match call.endpoint {
        Endpoint::ChatCompletions => render::chat_completion(&answer, call.model, stamp),
        Endpoint::Completions => render::text_completion(&answer, call.model, stamp),
        _ => Value::Object(body),
    };
    let response = answer.into_response(written);
    Ok(if counts_prompt { response } else { Response { prompt_tokens: None, ..response } })
}

/// OpenAI's chat and Ollama say true, OpenAI's completions a number.
fn wants_logprobs(body: &Map<String, Value>) -> bool {
    body.get("logprobs").is_some_and(|wanted| wanted == true || wanted.is_u64())
}

/// A whole answer to a chat or a prompt; one that was broken off fails.
pub(super) fn answer(body: &Map<String, Value>) -> Result<Answer, Failure> {
    if body.get("done") != Some(&Value::Bool(true)) {
        // It repeated itself, or its runner failed in the middle: both look the same, and the
        // second is worth another try.
        let why = "the engine broke the answer off: it repeated itself, or failed without a word";
        return Err(Failure { class: Class::Retry, ..Failure::aborted(why) });
    }
    let length_limited = match body.get("done_reason").and_then(Value::as_str) {
        Some("stop") => false,
        Some("length") => true,
        Some("load") => {
            return Err(Failure::aborted("the prompt is empty: the engine only loaded the model"));
        }
        reason => return Err(Failure::aborted(format!("the answer ended for the reason {reason:?}"))),
    };
    let nothing = Map::new();
    let message = body.get("message").and_then(Value::as_object).unwrap_or(&nothing);
    let text =
        |map: &Map<String, Value>, field: &str| map.get(field).and_then(Value::as_str).map(str::to_owned);
    let calls = message.get("tool_calls").and_then(Value::as_array).into_iter().flatten();
    Ok(Answer {
        text: text(message, "content").or_else(|| text(body, "response")).unwrap_or_default(),
        thinking: text(message, "thinking").or_else(|| text(body, "thinking")),
        tool_calls: calls.map(tool_call).collect(),
        logprobs: body.get("logprobs").and_then(Value::as_array).cloned(),
        length_limited,
        usage: usage(body),
        timings: timings(body),
    })
}

/// Nanoseconds; one that is 0 is left out.
fn timings(body: &Map<String, Value>) -> Timings {
    let time = |field: &str| body.get(field).and_then(Value::as_u64).map(Duration::from_nanos);
    Timings {
        load: time("load_duration"),
        prompt: time("prompt_eval_duration"),
        answer: time("eval_duration"),
    }
}

fn tool_call(call: &Value) -> ToolCall {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let function = &call["function"];
    ToolCall {
        id: text(&call["id"]),
        name: text(&function["name"]),
        arguments: function["arguments"].clone(),
    }
}

/// Counts that are 0 are left out by Ollama; a prompt never has 0 tokens, an answer may.
fn usage(body: &Map<String, Value>) -> Usage {
    let count = |field: &str| body.get(field).and_then(Value::as_u64);
    Usage {
        prompt: count("prompt_eval_count"),
        cached: count("prompt_eval_cached_count"),
        completion: Some(count("eval_count").unwrap_or_default()),
    }
}

fn embeddings(call: &Call<'_>, body: &mut Map<String, Value>) -> Result<Response, Failure> {
    let Some(Value::Array(vectors)) = body.get_mut("embeddings").map(Value::take) else {
        return Err(Failure::unreadable(&"no embeddings"));
    };
    let usage = Usage { completion: None, ..usage(body) };
    let vectors = Vectors { vectors, usage };
    let inputs = call.body.get("input").and_then(Value::as_array).map_or(1, Vec::len);
    vectors.check(inputs, call.body.get("dimensions").and_then(Value::as_u64))?;
    let written = if call.endpoint == Endpoint::Embeddings {
        let base64 = call.body.get("encoding_format").is_some_and(|format| format == "base64");
        render::embedding_list(&vectors, call.model, base64)
    } else {
        body.insert("embeddings".to_owned(), Value::Array(vectors.vectors.clone()));
        Value::Object(std::mem::take(body))
    };
    Ok(vectors.into_response(written))
}
