//! Bodies as the server gets them, answers as clients get them, and the driver on a real socket.

use std::collections::HashMap;

use caravan_request::Endpoint;
use serde_json::{Value, json};

use super::{OpenAi, request, response};
use crate::engine::answer::Stamp;
use crate::engine::connection::Reply;
use crate::engine::replay::{Replay, call};
use crate::engine::{Class, Engine, Failure, Loaded, Options, ReloadSet, Response};

fn sent(endpoint: Endpoint, body: &Value) -> (&'static str, Value) {
    let request = request::translate(&call(endpoint, body), 2048).unwrap();
    (request.path, request.body)
}

fn refused(endpoint: Endpoint, body: &Value) -> (&'static str, String) {
    let failure = request::translate(&call(endpoint, body), 2048).unwrap_err();
    assert_eq!(failure.class, Class::Request);
    (failure.code, failure.message.split(": ").next().unwrap().to_owned())
}

fn read(endpoint: Endpoint, body: &Value, reply: &Value) -> Result<Response, Failure> {
    let reply = Reply { status: 200, body: reply.to_string().into_bytes() };
    response::read(&call(endpoint, body), &reply, Stamp::now())
}

fn chat_reply(message: &Value, finish: &str) -> Value {
    json!({
        "id": "x", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{ "index": 0, "message": message, "finish_reason": finish }],
        "usage": { "prompt_tokens": 50, "completion_tokens": 3, "total_tokens": 53 },
        "timings": { "cache_n": 40 },
    })
}

#[test]
fn its_own_dialect_passes_through() {
    let image = json!({ "type": "image_url", "image_url": { "url": "data:image/png;base64,iVBOR", "detail": "low" } });
    let body = json!({
        "messages": [
            { "role": "developer", "content": "be terse" },
            { "role": "user", "content": [image], "name": "eve" },
        ],
        "max_completion_tokens": 9, "temperature": 0, "logit_bias": { "1": 2 }, "n": 2, "tool_choice": "required",
        "repeat_penalty": 1.1, "reasoning_effort": "none", "chat_template_kwargs": { "x": 1 },
        "user": "u", "metadata": {}, "store": false, "stream": false, "seed": null,
    });
    let expected = json!({
        "model": "m",
        "messages": [
            { "role": "system", "content": "be terse" },
            { "role": "user", "content": [image], "name": "eve" },
        ],
        "max_tokens": 9, "temperature": 0, "logit_bias": { "1": 2 }, "n": 2, "tool_choice": "required",
        "repeat_penalty": 1.1, "repetition_penalty": 1.1,
        "chat_template_kwargs": { "x": 1, "enable_thinking": false },
    });
    assert_eq!(sent(Endpoint::ChatCompletions, &body), ("/v1/chat/completions", expected));
}

#[test]
fn no_limit_means_to_the_end_of_the_context() {
    let chat = sent(Endpoint::ChatCompletions, &json!({ "messages": [] })).1;
    assert_eq!(chat.get("max_tokens"), None);
    let completion = sent(Endpoint::Completions, &json!({ "prompt": "p" })).1;
    assert_eq!(completion.get("max_tokens"), Some(&Value::Null));
}

#[test]
fn native_chat_becomes_openai() {
    let body = json!({
        "messages": [
            { "role": "user", "content": "what?", "images": ["iVBORw0KGgo="] },
            { "role": "assistant", "content": "", "thinking": "hm",
              "tool_calls": [{ "function": { "name": "look", "arguments": { "at": 1 } } }] },
            { "role": "tool", "content": "a cat", "tool_name": "look" },
        ],
        "format": { "type": "object" }, "think": "high", "logprobs": true, "top_logprobs": 1,
        "options": { "num_predict": 7, "seed": 1, "top_k": 3, "repeat_penalty": 1.1, "stop": ["E"] },
    });
    let parts = json!([
        { "type": "text", "text": "what?" },
        { "type": "image_url", "image_url": { "url": "data:image/png;base64,iVBORw0KGgo=" } },
    ]);
    let called = json!([{ "id": "call_0", "type": "function", "function": { "name": "look", "arguments": "{\"at\":1}" } }]);
    let schema = json!({ "name": "answer", "schema": { "type": "object" }, "strict": true });
    let expected = json!({
        "model": "m",
        "messages": [
            { "role": "user", "content": parts },
            { "role": "assistant", "content": "", "reasoning_content": "hm", "tool_calls": called },
            { "role": "tool", "content": "a cat", "tool_call_id": "call_0", "name": "look" },
        ],
        "response_format": { "type": "json_schema", "json_schema": schema },
        "reasoning_effort": "high",
        "chat_template_kwargs": { "enable_thinking": true, "reasoning_effort": "high" },
        "logprobs": true, "top_logprobs": 1,
        "seed": 1, "top_k": 3, "stop": ["E"], "repeat_penalty": 1.1, "repetition_penalty": 1.1, "max_tokens": 7,
    });
    assert_eq!(sent(Endpoint::OllamaChat, &body), ("/v1/chat/completions", expected));
}

#[test]
fn native_prompts_become_chats_and_raw_ones_completions() {
    let (path, body) =
        sent(Endpoint::OllamaGenerate, &json!({ "prompt": "p", "system": "s", "format": "json" }));
    assert_eq!(path, "/v1/chat/completions");
    let messages = json!([{ "role": "system", "content": "s" }, { "role": "user", "content": "p" }]);
    assert_eq!((&body["messages"], &body["response_format"]["type"]), (&messages, &json!("json_object")));
    let (path, body) = sent(Endpoint::OllamaGenerate, &json!({ "prompt": "p", "raw": true }));
    assert_eq!((path, &body["prompt"]), ("/v1/completions", &json!("p")));
    let (path, body) = sent(Endpoint::OllamaEmbed, &json!({ "input": "a" }));
    assert_eq!(
        (path, body),
        ("/v1/embeddings", json!({ "model": "m", "input": "a", "encoding_format": "float" }))
    );
}

#[test]
fn refuses_what_it_cannot_honour() {
    let chat = |field: &str, value: Value| {
        refused(Endpoint::ChatCompletions, &json!({ "messages": [], field: value }))
    };
    assert_eq!(chat("service_tier", json!("flex")), ("unsupported_parameter", "service_tier".to_owned()));
    assert_eq!(chat("stream", json!(true)).0, "unsupported_parameter");
    let image = json!({ "role": "user", "content": [{ "type": "image_url", "image_url": { "url": "http://h/a.png" } }] });
    assert_eq!(chat("messages", json!([image])).1, "messages[0].content[0].image_url.url");
    let generate = |body: Value| refused(Endpoint::OllamaGenerate, &body).1;
    assert_eq!(generate(json!({ "prompt": "p", "template": "t" })), "template");
    assert_eq!(generate(json!({ "prompt": "p", "raw": true, "format": "json" })), "format");
    assert_eq!(generate(json!({ "prompt": "p", "options": { "num_gpu": 1 } })), "options.num_gpu");
    assert_eq!(generate(json!({ "prompt": "p", "options": { "num_ctx": 9000 } })), "options.num_ctx");
    assert_eq!(refused(Endpoint::Completions, &json!({ "prompt": ["a", "b"] })).1, "prompt");
}

#[test]
fn answers_pass_through_with_the_cached_tokens_in_their_place() {
    let reply = chat_reply(&json!({ "role": "assistant", "content": "hi" }), "length");
    let answer = read(Endpoint::ChatCompletions, &json!({}), &reply).unwrap();
    assert_eq!(answer.body["usage"]["prompt_tokens_details"]["cached_tokens"], 40);
    assert_eq!(answer.body["choices"], reply["choices"]);
    let found = (answer.text.as_str(), answer.cached_tokens, answer.completion_tokens, answer.length_limited);
    assert_eq!(found, ("hi", Some(40), Some(3), true));
}

#[test]
fn answers_native_lines_natively() {
    let calls =
        json!([{ "id": "c", "type": "function", "function": { "name": "f", "arguments": "{\"a\":1}" } }]);
    let message =
        json!({ "role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": calls });
    let mut body = read(Endpoint::OllamaChat, &json!({}), &chat_reply(&message, "tool_calls")).unwrap().body;
    assert!(body.as_object_mut().unwrap().remove("created_at").is_some());
    let expected = json!({
        "model": "m",
        "message": { "role": "assistant", "content": "", "thinking": "hm",
                     "tool_calls": [{ "id": "c", "function": { "name": "f", "arguments": { "a": 1 } } }] },
        "done": true, "done_reason": "stop",
        "prompt_eval_count": 50, "prompt_eval_cached_count": 40, "eval_count": 3,
    });
    assert_eq!(body, expected);
    let text = chat_reply(&json!({ "role": "assistant", "content": "hi" }), "length");
    let body = read(Endpoint::OllamaGenerate, &json!({}), &text).unwrap().body;
    assert_eq!((&body["response"], &body["done_reason"]), (&json!("hi"), &json!("length")));
}

#[test]
fn answers_embeddings_in_both_forms() {
    let one =
        |index: u64, number: f64| json!({ "object": "embedding", "index": index, "embedding": [number] });
    let reply =
        json!({ "data": [one(1, 2.0), one(0, 1.0)], "usage": { "prompt_tokens": 4, "total_tokens": 4 } });
    let input = json!({ "input": ["a", "b"] });
    let native = read(Endpoint::OllamaEmbed, &input, &reply).unwrap().body;
    assert_eq!(native, json!({ "model": "m", "embeddings": [[1.0], [2.0]], "prompt_eval_count": 4 }));
    let base64 = json!({ "input": ["a", "b"], "encoding_format": "base64" });
    let body = read(Endpoint::Embeddings, &base64, &reply).unwrap().body;
    assert_eq!(body["data"][0]["embedding"], "AACAPw==");
    let ignored = json!({ "input": ["a", "b"], "dimensions": 7 });
    assert_eq!(read(Endpoint::Embeddings, &ignored, &reply).unwrap_err().code, "unsupported_parameter");
}

#[test]
fn takes_nothing_unfinished_or_cut_for_an_answer() {
    let message = json!({ "role": "assistant", "content": "hi" });
    let code = |body: &Value, reply: &Value| read(Endpoint::ChatCompletions, body, reply).unwrap_err().code;
    assert_eq!(code(&json!({}), &chat_reply(&message, "abort")), "engine_aborted");
    assert_eq!(code(&json!({}), &json!({ "choices": [] })), "engine_answer_invalid");
    assert_eq!(code(&json!({ "n": 2 }), &chat_reply(&message, "stop")), "unsupported_parameter");
    assert_eq!(code(&json!({ "logprobs": true }), &chat_reply(&message, "stop")), "unsupported_parameter");
    let error = json!({ "error": { "message": "an error was encountered while running the model: EOF" } });
    assert_eq!(code(&json!({}), &error), "engine_runner_died");
}

// === on a socket ===

#[tokio::test]
async fn a_llama_server_that_still_loads_is_not_up() {
    let loading =
        json!({ "error": { "code": 503, "message": "Loading model", "type": "unavailable_error" } });
    let server = Replay::start(HashMap::from([
        ("/v1/models", (200, json!({ "data": [{ "id": "gemma" }] }).to_string())),
        ("/props", (503, loading.to_string())),
    ]))
    .await;
    let driver = OpenAi::new(&server.url, Options::default()).unwrap();
    assert_eq!(
        driver.describe().await.unwrap_err().class,
        Class::Down,
        "or its slots would be taken for one"
    );
}

#[tokio::test]
async fn describes_a_llama_server() {
    let text = |body: Value| (200, body.to_string());
    let server = Replay::start(HashMap::from([
        ("/v1/models", text(json!({ "data": [{ "id": "gemma", "meta": { "n_ctx_train": 32768 } }] }))),
        (
            "/props",
            text(json!({
                "total_slots": 4, "build_info": "b10488-x", "default_generation_settings": { "n_ctx": 2048 },
            })),
        ),
    ]))
    .await;
    let driver = OpenAi::new(&server.url.join("/v1/").unwrap(), Options::default()).unwrap();
    let found = driver.describe().await.unwrap();
    assert_eq!((found.version.as_str(), found.slots), ("b10488-x", Some(4)));
    let model = &found.models[0];
    assert_eq!((model.name.as_str(), model.max_context), ("gemma", Some(2048)));
    assert_eq!(model.loaded, Some(Loaded { context: 2048, size: 0, size_vram: 0 }));
    driver.load("gemma", ReloadSet { context: 2048, ..ReloadSet::default() }).await.unwrap();
    for (model, context, code) in [("gemma", 4096, "context_not_honoured"), ("nope", 1, "model_not_found")] {
        let failure = driver.load(model, ReloadSet { context, ..ReloadSet::default() }).await.unwrap_err();
        assert_eq!((failure.class, failure.code), (Class::Model, code));
    }
}

#[tokio::test]
async fn describes_a_vllm() {
    let text = |body: Value| (200, body.to_string());
    let server = Replay::start(HashMap::from([
        ("/v1/models", text(json!({ "data": [{ "id": "q", "max_model_len": 40960 }] }))),
        ("/version", text(json!({ "version": "0.11.0" }))),
    ]))
    .await;
    let found = OpenAi::new(&server.url, Options::default()).unwrap().describe().await.unwrap();
    assert_eq!(
        (found.version.as_str(), found.slots, found.models[0].max_context),
        ("0.11.0", None, Some(40960))
    );
}

#[tokio::test]
async fn a_server_that_still_loads_is_down() {
    let loading = r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#;
    let server = Replay::start(HashMap::from([("/v1/models", (503, loading.to_owned()))])).await;
    let failure = OpenAi::new(&server.url, Options::default()).unwrap().describe().await.unwrap_err();
    assert_eq!((failure.class, failure.code), (Class::Down, "engine_loading"));
}

#[tokio::test]
async fn a_refusal_of_a_native_line_is_native() {
    let refusal = r#"{"error":{"code":400,"message":"request (9 tokens) exceeds the available context size (8 tokens)","type":"exceed_context_size_error"}}"#;
    let server = Replay::start(HashMap::from([("/v1/chat/completions", (400, refusal.to_owned()))])).await;
    let driver = OpenAi::new(&server.url, Options::default()).unwrap();
    let body = json!({ "messages": [{ "role": "user", "content": "hi" }] });
    let failure = driver.run(&call(Endpoint::OllamaChat, &body)).await.unwrap_err();
    assert_eq!((failure.code, failure.status), ("context_length_exceeded", Some(400)));
    let said = json!({ "error": "request (9 tokens) exceeds the available context size (8 tokens)" });
    assert_eq!(failure.body, Some(said));
}
