//! Answers written in the form of their endpoint.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::answer::{Answer, Stamp, Usage, Vectors};

/// The body of `/v1/chat/completions`.
pub(super) fn chat_completion(answer: &Answer, model: &str, stamp: Stamp) -> Value {
    let mut message = json!({ "role": "assistant", "content": answer.text });
    if let Some(thinking) = &answer.thinking {
        message["reasoning_content"] = json!(thinking);
    }
    if !answer.tool_calls.is_empty() {
        if answer.text.is_empty() {
            message["content"] = Value::Null;
        }
        message["tool_calls"] = openai_tool_calls(answer, stamp);
    }
    let logprobs = answer.logprobs.as_ref().map(|tokens| json!({ "content": tokens, "refusal": null }));
    let finish = if answer.length_limited {
        "length"
    } else if answer.tool_calls.is_empty() {
        "stop"
    } else {
        "tool_calls"
    };
    json!({
        "id": format!("chatcmpl-{}", stamp.id.simple()),
        "object": "chat.completion",
        "created": stamp.created.as_second(),
        "model": model,
        "choices": [{ "index": 0, "message": message, "logprobs": logprobs, "finish_reason": finish }],
        "usage": answer.usage.openai(),
    })
}

fn openai_tool_calls(answer: &Answer, stamp: Stamp) -> Value {
    let calls = answer.tool_calls.iter().enumerate();
    calls
        .map(|(index, call)| {
            let made = || format!("call_{}_{index}", stamp.id.simple());
            let id = if call.id.is_empty() { made() } else { call.id.clone() };
            let function = json!({ "name": call.name, "arguments": call.arguments.to_string() });
            json!({ "id": id, "type": "function", "function": function })
        })
        .collect()
}

/// The body of `/v1/completions`.
pub(super) fn text_completion(answer: &Answer, model: &str, stamp: Stamp) -> Value {
    let finish = if answer.length_limited { "length" } else { "stop" };
    let logprobs = answer.logprobs.as_deref().map(completion_logprobs);
    json!({
        "id": format!("cmpl-{}", stamp.id.simple()),
        "object": "text_completion",
        "created": stamp.created.as_second(),
        "model": model,
        "choices": [{ "index": 0, "text": answer.text, "logprobs": logprobs, "finish_reason": finish }],
        "usage": answer.usage.openai(),
    })
}

/// The older form of log probabilities: a list a property. Offsets are in characters.
fn completion_logprobs(tokens: &[Value]) -> Value {
    let mut offset = 0;
    let mut offsets = Vec::with_capacity(tokens.len());
    for token in tokens {
        offsets.push(offset);
        offset += token["token"].as_str().map_or(0, |text| text.chars().count());
    }
    let top = |token: &Value| -> Value {
        let others = token["top_logprobs"].as_array().into_iter().flatten();
        let named = others.filter_map(|other| Some((other["token"].as_str()?, other["logprob"].clone())));
        Value::Object(named.map(|(name, logprob)| (name.to_owned(), logprob)).collect())
    };
    json!({
        "tokens": tokens.iter().map(|token| &token["token"]).collect::<Vec<_>>(),
        "token_logprobs": tokens.iter().map(|token| &token["logprob"]).collect::<Vec<_>>(),
        "top_logprobs": tokens.iter().map(top).collect::<Vec<_>>(),
        "text_offset": offsets,
    })
}

/// The body of `/v1/embeddings`. With `base64`, vectors as little-endian 32-bit floats.
pub(super) fn embedding_list(answer: &Vectors, model: &str, base64: bool) -> Value {
    let data = answer.vectors.iter().enumerate().map(|(index, vector)| {
        let embedding = if base64 { Value::String(encode(vector)) } else { vector.clone() };
        json!({ "object": "embedding", "index": index, "embedding": embedding })
    });
    let prompt = answer.usage.prompt.unwrap_or_default();
    json!({
        "object": "list",
        "data": data.collect::<Vec<_>>(),
        "model": model,
        "usage": { "prompt_tokens": prompt, "total_tokens": prompt },
    })
}

#[expect(clippy::cast_possible_truncation, reason = "the format is 32-bit floats")]
fn encode(vector: &Value) -> String {
    let numbers = vector.as_array().into_iter().flatten().filter_map(Value::as_f64);
    STANDARD.encode(numbers.flat_map(|number| (number as f32).to_le_bytes()).collect::<Vec<u8>>())
}

/// The body of `/api/chat`.
pub(super) fn native_chat(answer: &Answer, model: &str, stamp: Stamp) -> Value {
    let mut message = json!({ "role": "assistant", "content": answer.text });
    if let Some(thinking) = &answer.thinking {
        message["thinking"] = json!(thinking);
    }
    if !answer.tool_calls.is_empty() {
        let calls = answer.tool_calls.iter();
        let written = calls.map(|call| {
            let mut written = json!({ "function": { "name": call.name, "arguments": call.arguments } });
            if !call.id.is_empty() {
                written["id"] = json!(call.id);
            }
            written
        });
        message["tool_calls"] = written.collect();
    }
    native(answer, model, stamp, [("message", message)])
}

/// The body of `/api/generate`.
pub(super) fn native_generate(answer: &Answer, model: &str, stamp: Stamp) -> Value {
    let text = ("response", json!(answer.text));
    match &answer.thinking {
        Some(thinking) => native(answer, model, stamp, [text, ("thinking", json!(thinking))]),
        None => native(answer, model, stamp, [text]),
    }
}

fn native<const N: usize>(answer: &Answer, model: &str, stamp: Stamp, said: [(&str, Value); N]) -> Value {
    let mut body = Map::new();
    body.insert("model".to_owned(), json!(model));
    body.insert("created_at".to_owned(), json!(stamp.created.to_string()));
    body.extend(said.map(|(field, value)| (field.to_owned(), value)));
    body.insert("done".to_owned(), json!(true));
    let reason = if answer.length_limited { "length" } else { "stop" };
    body.insert("done_reason".to_owned(), json!(reason));
    if let Some(logprobs) = &answer.logprobs {
        body.insert("logprobs".to_owned(), json!(logprobs));
    }
    native_usage(answer.usage, &mut body);
    Value::Object(body)
}

/// The body of `/api/embed`.
pub(super) fn native_embeddings(answer: &Vectors, model: &str) -> Value {
    let mut body = Map::new();
    body.insert("model".to_owned(), json!(model));
    body.insert("embeddings".to_owned(), json!(answer.vectors));
    native_usage(answer.usage, &mut body);
    Value::Object(body)
}

fn native_usage(usage: Usage, body: &mut Map<String, Value>) {
    let counts = [
        ("prompt_eval_count", usage.prompt),
        ("prompt_eval_cached_count", usage.cached),
        ("eval_count", usage.completion),
    ];
    for (field, count) in counts {
        if let Some(count) = count {
            body.insert(field.to_owned(), json!(count));
        }
    }
}
