//! Answers of OpenAI-compatible servers, checked and written in the form of the endpoint.

use std::time::Duration;

use caravan_request::{Dialect, Endpoint};
use serde_json::{Map, Value, json};

use crate::engine::answer::{Answer, Stamp, ToolCall, Usage, Vectors};
use crate::engine::connection::Reply;
use crate::engine::{Call, Failure, Response, Timings, guard, render};

/// The answer to `call`, whichever endpoint it named.
pub(in crate::engine) fn read(call: &Call<'_>, reply: &Reply, stamp: Stamp) -> Result<Response, Failure> {
    if !reply.is_success() {
        return Err(Failure::refused(reply.status, &reply.text(), Some(call.endpoint)));
    }
    let mut body: Map<String, Value> =
        serde_json::from_slice(&reply.body).map_err(|error| Failure::unreadable(&error))?;
    if body.get("error").is_some_and(|error| !error.is_null()) {
        return Err(Failure::refused(200, &Value::Object(body).to_string(), Some(call.endpoint)));
    }
    if call.endpoint.is_embedding() {
        return embeddings(call, &mut body);
    }
    let answer = answer(&body)?;
    guard::check(call, answer.usage.prompt)?;
    asked_for(call, &body, &answer)?;
    let written = match call.endpoint {
        Endpoint::OllamaChat => render::native_chat(&answer, call.model, stamp),
        Endpoint::OllamaGenerate => render::native_generate(&answer, call.model, stamp),
        _ => with_cached(body, answer.usage),
    };
    Ok(answer.into_response(written))
}

/// What was asked for and a server may leave out without a word: further choices, probabilities.
fn asked_for(call: &Call<'_>, body: &Map<String, Value>, answer: &Answer) -> Result<(), Failure> {
    let choices = body.get("choices").and_then(Value::as_array).map_or(0, Vec::len) as u64;
    if call.body.get("n").and_then(Value::as_u64).is_some_and(|n| n != choices) {
        return Err(Failure::unsupported("n", "the engine gave another number of choices"));
    }
    let wants = call.body.get("logprobs").is_some_and(|wanted| wanted == true || wanted.is_u64());
    let given = answer.logprobs.is_some() || body["choices"][0]["logprobs"].is_object();
    if wants && !given {
        return Err(Failure::unsupported("logprobs", "the engine did not give them"));
    }
    Ok(())
}

/// The first choice; one that was broken off fails, as does any other choice.
fn answer(body: &Map<String, Value>) -> Result<Answer, Failure> {
    let choices = body.get("choices").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let Some(first) = choices.first() else { return Err(Failure::unreadable(&"no choices")) };
    let mut length_limited = false;
    for choice in choices {
        match choice["finish_reason"].as_str() {
            Some("stop" | "tool_calls" | "function_call") => {}
            Some("length") => length_limited = true,
            reason => return Err(Failure::aborted(format!("the answer ended for the reason {reason:?}"))),
        }
    }
    let message = &first["message"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let calls = message["tool_calls"].as_array().into_iter().flatten();
    Ok(Answer {
        text: text(&message["content"]).or_else(|| text(&first["text"])).unwrap_or_default(),
        thinking: text(&message["reasoning_content"]).or_else(|| text(&message["reasoning"])),
        tool_calls: calls.map(tool_call).collect(),
        logprobs: first["logprobs"]["content"].as_array().cloned(),
        length_limited,
        usage: usage(body),
        timings: timings(body),
    })
}

/// llama-server's milliseconds.
fn timings(body: &Map<String, Value>) -> Timings {
    let timings = body.get("timings").unwrap_or(&Value::Null);
    let time = |field: &str| Duration::try_from_secs_f64(timings[field].as_f64()? / 1_000.0).ok();
    Timings { load: None, prompt: time("prompt_ms"), answer: time("predicted_ms") }
}

fn tool_call(call: &Value) -> ToolCall {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let written = text(&call["function"]["arguments"]);
    // A model may write arguments that are no JSON: then they are kept as the text they are.
    let arguments = serde_json::from_str(&written).unwrap_or(Value::String(written));
    ToolCall { id: text(&call["id"]), name: text(&call["function"]["name"]), arguments }
}

/// llama-server tells of its cache in `timings` too, and older ones only there.
fn usage(body: &Map<String, Value>) -> Usage {
    let nothing = Value::Null;
    let usage = body.get("usage").unwrap_or(&nothing);
    let timings = body.get("timings").unwrap_or(&nothing);
    let cached = usage["prompt_tokens_details"]["cached_tokens"].as_u64();
    Usage {
        prompt: usage["prompt_tokens"].as_u64(),
        cached: cached.or_else(|| timings["cache_n"].as_u64()),
        completion: usage["completion_tokens"].as_u64(),
    }
}

/// The body as the engine gave it, with the cached tokens where OpenAI has them.
fn with_cached(mut body: Map<String, Value>, usage: Usage) -> Value {
    if let (Some(cached), Some(Value::Object(written))) = (usage.cached, body.get_mut("usage")) {
        let details = written.entry("prompt_tokens_details").or_insert(Value::Null);
        if details["cached_tokens"].is_null() {
            *details = json!({ "cached_tokens": cached });
        }
    }
    Value::Object(body)
}

fn embeddings(call: &Call<'_>, body: &mut Map<String, Value>) -> Result<Response, Failure> {
    let Some(Value::Array(mut data)) = body.get_mut("data").map(Value::take) else {
        return Err(Failure::unreadable(&"no data"));
    };
    data.sort_by_key(|one| one["index"].as_u64());
    let usage = Usage { completion: None, ..usage(body) };
    let vectors = data.iter_mut().map(|one| one["embedding"].take()).collect();
    let vectors = Vectors { vectors, usage };
    vectors.check(inputs(call.body), call.body.get("dimensions").and_then(Value::as_u64))?;
    let written = if call.endpoint.dialect() == Dialect::Ollama {
        render::native_embeddings(&vectors, call.model)
    } else {
        let base64 = call.body.get("encoding_format").is_some_and(|format| format == "base64");
        render::embedding_list(&vectors, call.model, base64)
    };
    Ok(vectors.into_response(written))
}

/// Inputs of an embedding: a string or a list of tokens is one.
fn inputs(body: &Map<String, Value>) -> usize {
    match body.get("input").and_then(Value::as_array) {
        Some(list) if !list.iter().all(Value::is_u64) => list.len(),
        Some(list) if list.is_empty() => 0,
        _ => 1,
    }
}
