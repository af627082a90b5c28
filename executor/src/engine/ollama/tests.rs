//! Bodies as Ollama gets them, answers as clients get them, and the driver on a real socket.

use std::collections::HashMap;

use caravan_request::Endpoint;
use serde_json::{Value, json};

use super::{Ollama, recordings, request, response};
use crate::engine::answer::Stamp;
use crate::engine::connection::Reply;
use crate::engine::replay::{Answers, Replay, call};
use crate::engine::{Call, Class, Engine, Failure, Options, ReloadSet, Response};

fn sent(endpoint: Endpoint, body: &Value) -> Value {
    request::translate(&call(endpoint, body), 2048).unwrap().body
}

/// The failure's code and the field that it names.
fn refused(endpoint: Endpoint, body: &Value) -> (&'static str, String) {
    let failure = request::translate(&call(endpoint, body), 2048).unwrap_err();
    assert_eq!((failure.class, failure.status, failure.body), (Class::Request, None, None));
    (failure.code, failure.message.split(": ").next().unwrap().to_owned())
}

fn read(endpoint: Endpoint, body: &Value, reply: &Value) -> Result<Response, Failure> {
    let reply = Reply { status: 200, body: reply.to_string().into_bytes() };
    response::read(&call(endpoint, body), &reply, true, Stamp::now())
}

fn done(mut reply: Value) -> Value {
    reply["done"] = json!(true);
    reply["done_reason"] = json!("stop");
    reply["prompt_eval_count"] = json!(50);
    reply["eval_count"] = json!(3);
    reply
}

#[test]
fn chat_of_openai_becomes_native() {
    let body = json!({
        "model": "m",
        "messages": [
            { "role": "developer", "content": "be terse" },
            { "role": "user", "content": [
                { "type": "text", "text": "what" },
                { "type": "image_url", "image_url": { "url": "data:image/png;base64,iVBORw0KGgo=" } },
                { "type": "text", "text": "is it?" },
            ]},
            { "role": "assistant", "content": null, "tool_calls": [
                { "id": "c1", "type": "function", "function": { "name": "look", "arguments": "{\"at\":1}" } },
            ]},
            { "role": "tool", "tool_call_id": "c1", "content": "a cat" },
        ],
        "tools": [{ "type": "function", "function": { "name": "look", "parameters": { "z": 1, "a": 2 } } }],
        "tool_choice": "auto", "n": 1, "stream": false, "parallel_tool_calls": true,
        "max_tokens": 900, "max_completion_tokens": 100,
        "temperature": 0.5, "top_p": 0.9, "seed": 7, "stop": "END",
        "frequency_penalty": 0.1, "presence_penalty": 0.2,
        "logprobs": true, "top_logprobs": 2, "reasoning_effort": "low",
        "response_format": { "type": "json_schema", "json_schema": { "name": "n", "schema": { "type": "object" } } },
        "user": "u", "metadata": {}, "store": true,
    });
    let expected = json!({
        "model": "m",
        "messages": [
            { "role": "system", "content": "be terse" },
            { "role": "user", "content": "what\nis it?", "images": ["iVBORw0KGgo="] },
            { "role": "assistant", "content": "", "tool_calls": [
                { "id": "c1", "function": { "name": "look", "arguments": { "at": 1 } } },
            ]},
            { "role": "tool", "content": "a cat", "tool_call_id": "c1", "tool_name": "look" },
        ],
        "tools": [{ "type": "function", "function": { "name": "look", "parameters": { "z": 1, "a": 2 } } }],
        "format": { "type": "object" },
        "think": "low", "logprobs": true, "top_logprobs": 2,
        "truncate": false, "keep_alive": -1, "stream": false, "shift": false,
        "options": {
            "num_ctx": 2048, "num_predict": 100, "temperature": 0.5, "top_p": 0.9, "seed": 7, "stop": ["END"],
            "frequency_penalty": 0.1, "presence_penalty": 0.2,
        },
    });
    assert_eq!(sent(Endpoint::ChatCompletions, &body), expected);
}

#[test]
fn schemas_and_tools_keep_their_order() {
    let body: Value = serde_json::from_str(
        r#"{"messages":[],"response_format":{"type":"json_schema","json_schema":{"schema":{"z":1,"a":2,"m":3}}}}"#,
    )
    .unwrap();
    let text = sent(Endpoint::ChatCompletions, &body).to_string();
    assert!(text.contains(r#""format":{"z":1,"a":2,"m":3}"#), "{text}");
}

#[test]
fn sends_defaults_of_nobody_but_the_frozen_ones() {
    let body = json!({ "messages": [{ "role": "user", "content": "hi" }], "temperature": null });
    let expected = json!({
        "model": "m", "messages": [{ "role": "user", "content": "hi" }],
        "truncate": false, "keep_alive": -1, "stream": false, "shift": false, "think": false,
        "options": { "num_ctx": 2048, "num_predict": 2048 },
    });
    assert_eq!(sent(Endpoint::ChatCompletions, &body), expected);
    assert_eq!(sent(Endpoint::OllamaChat, &body), expected);
}

#[test]
fn always_sends_a_limit_of_at_least_one() {
    let limit = |body: &Value, context, prompt_tokens, answer_tokens| {
        let base = call(Endpoint::OllamaGenerate, body);
        let call = Call { prompt_tokens, answer_tokens, ..base };
        request::translate(&call, context).unwrap().body["options"]["num_predict"].clone()
    };
    let none = json!({ "prompt": "p" });
    assert_eq!(limit(&none, 2048, 0, 0), 2048);
    assert_eq!(limit(&none, 2048, 3000, 0), 2048, "an estimate cuts no answer");
    assert_eq!(limit(&none, 2048, 48, 300), 300);
    assert_eq!(limit(&none, 0, 48, 0), Value::Null);
    let stated = |count: i64| json!({ "prompt": "p", "options": { "num_predict": count } });
    assert_eq!(limit(&stated(5), 2048, 48, 300), 5);
    for without_end in [0, -1, -2] {
        assert_eq!(limit(&stated(without_end), 2048, 48, 0), 2048, "{without_end}");
    }
}

#[test]
fn completions_are_raw() {
    let body = json!({ "prompt": ["Once"], "max_tokens": 5, "logprobs": 2, "stop": ["a", "b"] });
    let expected = json!({
        "model": "m", "prompt": "Once", "raw": true, "logprobs": true, "top_logprobs": 2,
        "truncate": false, "keep_alive": -1, "stream": false, "shift": false, "think": false,
        "options": { "num_ctx": 2048, "num_predict": 5, "stop": ["a", "b"] },
    });
    assert_eq!(sent(Endpoint::Completions, &body), expected);
    let gap = sent(Endpoint::Completions, &json!({ "prompt": "a", "suffix": "c" }));
    assert_eq!((&gap["suffix"], &gap["raw"]), (&json!("c"), &Value::Null));
}

#[test]
fn native_bodies_keep_their_fields() {
    let body = json!({
        "prompt": "p", "system": "s", "template": "t", "images": ["x"], "format": "json", "think": true,
        "stream": false,
        "options": { "num_predict": 9, "top_k": 3, "repeat_last_n": 4 },
    });
    let expected = json!({
        "model": "m", "prompt": "p", "system": "s", "template": "t", "images": ["x"], "format": "json",
        "think": true, "truncate": false, "keep_alive": -1, "stream": false, "shift": false,
        "options": { "num_ctx": 2048, "num_predict": 9, "top_k": 3, "repeat_last_n": 4 },
    });
    assert_eq!(sent(Endpoint::OllamaGenerate, &body), expected);
}

#[test]
fn embeddings_become_native() {
    let expected = json!({
        "model": "m", "input": ["a", "b"], "dimensions": 2, "truncate": false, "keep_alive": -1,
        "options": { "num_ctx": 2048 },
    });
    let body = json!({ "input": ["a", "b"], "dimensions": 2, "encoding_format": "base64", "user": "u" });
    assert_eq!(sent(Endpoint::Embeddings, &body), expected);
    let native = json!({ "input": ["a", "b"], "dimensions": 2 });
    assert_eq!(sent(Endpoint::OllamaEmbed, &native), expected);
}

#[test]
fn refuses_what_it_cannot_honour() {
    let chat = |field: &str, value: Value| {
        let body = json!({ "messages": [], field: value });
        refused(Endpoint::ChatCompletions, &body)
    };
    for (field, value) in [
        ("logit_bias", json!({})),
        ("n", json!(2)),
        ("stream", json!(true)),
        ("parallel_tool_calls", json!(false)),
        ("tool_choice", json!("required")),
        ("reasoning_effort", json!("minimal")),
        ("service_tier", json!("flex")),
    ] {
        assert_eq!(chat(field, value), ("unsupported_parameter", field.to_owned()));
    }
    let strict = json!([{ "type": "function", "function": { "name": "f", "strict": true } }]);
    assert_eq!(chat("tools", strict).1, "tools[0].function.strict");
    assert_eq!(chat("max_tokens", json!(0)), ("invalid_value", "max_tokens".to_owned()));
    assert_eq!(chat("max_tokens", json!("5")).0, "invalid_value");

    let message = |message: Value| chat("messages", json!([message]));
    let image = |url: &str| {
        message(json!({ "role": "user", "content": [{ "type": "image_url", "image_url": { "url": url } }] }))
    };
    let at = "messages[0].content[0].image_url.url".to_owned();
    assert_eq!(image("http://host/cat.png"), ("unsupported_parameter", at));
    assert_eq!(message(json!({ "role": "wizard", "content": "hi" })).1, "messages[0].role");
    assert_eq!(message(json!({ "role": "user", "content": "hi", "name": "x" })).1, "messages[0].name");
    let calls = json!([{ "id": "c", "type": "function", "function": { "name": "f", "arguments": "no" } }]);
    let called = message(json!({ "role": "assistant", "tool_calls": calls }));
    assert_eq!(called, ("invalid_value", "messages[0].tool_calls[0].function.arguments".to_owned()));

    let native = |body: Value| refused(Endpoint::OllamaGenerate, &body).1;
    assert_eq!(native(json!({ "prompt": "p", "options": { "num_gpu": 1 } })), "options.num_gpu");
    assert_eq!(native(json!({ "prompt": "p", "options": { "num_ctx": 4096 } })), "options.num_ctx");
    for field in ["truncate", "shift", "keep_alive", "context", "_debug_render_only"] {
        assert_eq!(native(json!({ "prompt": "p", field: true })), field);
    }
    assert_eq!(refused(Endpoint::Completions, &json!({ "prompt": ["a", "b"] })).1, "prompt");
    assert_eq!(refused(Endpoint::Embeddings, &json!({ "input": [1, 2] })).1, "input");
}

#[test]
fn answers_a_chat_of_openai_in_its_form() {
    let reply = done(json!({
        "message": { "role": "assistant", "content": "hi", "thinking": "hm" }, "prompt_eval_cached_count": 40,
    }));
    let answer = read(Endpoint::ChatCompletions, &json!({}), &reply).unwrap();
    let body = &answer.body;
    assert_eq!(body["object"], "chat.completion");
    assert!(body["id"].as_str().unwrap().starts_with("chatcmpl-") && body["created"].is_i64());
    assert_eq!(body["choices"][0]["message"]["content"], "hi");
    assert_eq!(body["choices"][0]["message"]["reasoning_content"], "hm");
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    let usage = json!({
        "prompt_tokens": 50, "completion_tokens": 3, "total_tokens": 53,
        "prompt_tokens_details": { "cached_tokens": 40 },
    });
    assert_eq!(body["usage"], usage);
    assert_eq!((answer.text.as_str(), answer.cached_tokens, answer.length_limited), ("hi", Some(40), false));
}

#[test]
fn answers_tool_calls_with_ids_and_arguments_as_text() {
    let calls = json!([{ "function": { "name": "f", "arguments": { "z": 1, "a": [2] } } }]);
    let reply = done(json!({ "message": { "role": "assistant", "content": "", "tool_calls": calls } }));
    let body = read(Endpoint::ChatCompletions, &json!({}), &reply).unwrap().body;
    let choice = &body["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert_eq!(choice["message"]["content"], Value::Null);
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!(call["function"], json!({ "name": "f", "arguments": r#"{"z":1,"a":[2]}"# }));
    assert!(call["id"].as_str().unwrap().starts_with("call_"));
}

#[test]
fn answers_completions_with_probabilities_in_their_older_form() {
    let other = json!({ "token": "no", "logprob": -2.0 });
    let token = |text: &str| json!({ "token": text, "logprob": -0.5, "top_logprobs": [other] });
    let mut reply = done(json!({ "response": "jä!", "logprobs": [token("jä"), token("!")] }));
    reply["done_reason"] = json!("length");
    let answer = read(Endpoint::Completions, &json!({ "logprobs": 1 }), &reply).unwrap();
    assert_eq!(answer.body["object"], "text_completion");
    let choice = &answer.body["choices"][0];
    assert_eq!((&choice["text"], &choice["finish_reason"]), (&json!("jä!"), &json!("length")));
    let expected = json!({
        "tokens": ["jä", "!"], "token_logprobs": [-0.5, -0.5],
        "top_logprobs": [{ "no": -2.0 }, { "no": -2.0 }], "text_offset": [0, 2],
    });
    assert_eq!(choice["logprobs"], expected);
    let without = done(json!({ "response": "ja" }));
    let failure = read(Endpoint::Completions, &json!({ "logprobs": 1 }), &without).unwrap_err();
    assert_eq!(failure.code, "unsupported_parameter");
}

#[test]
fn answers_embeddings_as_numbers_or_base64() {
    let reply = json!({ "embeddings": [[1.0, -0.5], [0.1, 2]], "prompt_eval_count": 4 });
    let input = json!({ "input": ["a", "b"] });
    let body = read(Endpoint::Embeddings, &input, &reply).unwrap().body;
    assert_eq!(body["data"][1], json!({ "object": "embedding", "index": 1, "embedding": [0.1, 2] }));
    assert_eq!(body["usage"], json!({ "prompt_tokens": 4, "total_tokens": 4 }));
    let base64 = json!({ "input": ["a", "b"], "encoding_format": "base64" });
    let body = read(Endpoint::Embeddings, &base64, &reply).unwrap().body;
    assert_eq!(body["data"][0]["embedding"], "AACAPwAAAL8=");
    assert_eq!(read(Endpoint::OllamaEmbed, &input, &reply).unwrap().body, reply);

    let missing = read(Endpoint::OllamaEmbed, &json!({ "input": ["a"] }), &reply).unwrap_err();
    assert_eq!((missing.class, missing.code), (Class::Retry, "engine_answer_invalid"));
    let shorter = json!({ "input": ["a", "b"], "dimensions": 1 });
    assert_eq!(read(Endpoint::OllamaEmbed, &shorter, &reply).unwrap_err().code, "unsupported_parameter");
}

#[test]
fn takes_nothing_unfinished_for_an_answer() {
    let message = json!({ "role": "assistant", "content": "blue" });
    for (reply, class) in [
        (json!({ "message": message, "done": false }), Class::Retry),
        (json!({ "message": message }), Class::Retry),
        (json!({ "message": message, "done": true, "done_reason": "load" }), Class::Request),
        (json!({ "message": message, "done": true }), Class::Request),
    ] {
        let failure = read(Endpoint::OllamaChat, &json!({}), &reply).unwrap_err();
        let found = (failure.class, failure.code, failure.status);
        assert_eq!(found, (class, "engine_aborted", None), "{reply}");
    }
    let cut = Reply { status: 200, body: br#"{"message":{"cont"#.to_vec() };
    let failure =
        response::read(&call(Endpoint::OllamaChat, &json!({})), &cut, true, Stamp::now()).unwrap_err();
    assert_eq!((failure.class, failure.code), (Class::Retry, "engine_answer_invalid"));
}

#[test]
fn trusts_no_count_of_the_release_that_leaves_the_cache_out() {
    let body = json!({ "messages": [{ "role": "user", "content": "word ".repeat(800) }] });
    let reply = done(json!({ "message": { "content": "x" } }));
    let failure = read(Endpoint::OllamaChat, &body, &reply).err();
    assert!(failure.is_none(), "50 of 48 planned");
    let call = Call { prompt_tokens: 900, ..call(Endpoint::OllamaChat, &body) };
    let reply = Reply { status: 200, body: reply.to_string().into_bytes() };
    let failure = response::read(&call, &reply, true, Stamp::now()).unwrap_err();
    assert_eq!(failure.code, "prompt_truncated");
    assert!(response::read(&call, &reply, false, Stamp::now()).is_ok());
}

// === on a socket ===

fn recorded(cases: &[(&'static str, &str)]) -> Answers {
    let all = recordings::all();
    let answer = |case: &str| {
        let response = &all[case]["response"];
        let status = u16::try_from(response["status"].as_u64().unwrap()).unwrap();
        (status, response["body"].as_str().unwrap().to_owned())
    };
    cases.iter().map(|(path, case)| (*path, answer(case))).collect()
}

async fn driver(answers: Answers) -> (Replay, Ollama) {
    let server = Replay::start(answers).await;
    let driver = Ollama::new(&server.url, Options::default()).unwrap();
    (server, driver)
}

#[tokio::test]
async fn describes_what_it_finds_and_shows_each_model_once() {
    for version in ["v0.33", "v0.12.6"] {
        let case = |name: &str| format!("{version}/{name}");
        let (server, driver) = driver(recorded(&[
            ("/api/version", &case("version")),
            ("/api/tags", &case("tags")),
            ("/api/show", &case("show")),
            ("/api/ps", &case("ps_loaded")),
        ]))
        .await;
        let first = driver.describe().await.unwrap();
        assert_eq!(first.version, "0.0.0");
        let model = &first.models[0];
        assert_eq!((model.name.as_str(), model.chat, model.embedding), ("gemma270:latest", true, false));
        assert_eq!((model.max_context, model.loaded.unwrap().context), (Some(32768), 2048));
        assert_eq!(driver.describe().await.unwrap(), first);
        let shown = server.sent().iter().filter(|(path, _)| path == "/api/show").count();
        let digests: std::collections::BTreeSet<_> = first.models.iter().map(|model| &model.digest).collect();
        assert_eq!(shown, digests.len());
    }
}

#[tokio::test]
async fn loads_exactly_the_set_and_checks_it() {
    let cases = [
        ("/api/tags", "v0.33/tags"),
        ("/api/show", "v0.33/show"),
        ("/api/generate", "v0.33/load_generate_empty"),
        ("/api/ps", "v0.33/ps_loaded"),
    ];
    let (server, driver) = driver(recorded(&cases)).await;
    driver.load("gemma270", ReloadSet { context: 2048, ..ReloadSet::default() }).await.unwrap();
    let expected = json!({
        "model": "gemma270", "prompt": "", "stream": false, "shift": false, "keep_alive": -1,
        "options": { "num_ctx": 2048 },
    });
    assert!(server.sent().contains(&("/api/generate".to_owned(), expected)));
    driver.load("gemma270", ReloadSet { context: 1900, ..ReloadSet::default() }).await.unwrap();

    let other =
        driver.load("gemma270", ReloadSet { context: 4096, ..ReloadSet::default() }).await.unwrap_err();
    assert_eq!((other.class, other.code), (Class::Model, "context_not_honoured"));
    let loads = server.sent().iter().filter(|(path, _)| path == "/api/generate").count();
    assert_eq!(loads, 4, "asked a second time before it gave up");
    let missing = driver.load("nope", ReloadSet { context: 2048, ..ReloadSet::default() }).await.unwrap_err();
    assert_eq!((missing.class, missing.code), (Class::Model, "model_not_found"));
}

#[test]
fn load_and_requests_freeze_the_same_set() {
    let set = ReloadSet { context: 2048, batch: 1024, embedding: false };
    let frozen = json!({ "num_ctx": 2048, "num_batch": 1024 });
    assert_eq!(request::load("m", set, super::wire::Traits::default()).body["options"], frozen);
    let body = json!({ "messages": [], "options": { "num_predict": 5 } });
    let call = Call { set, ..call(Endpoint::OllamaChat, &body) };
    let sent = request::translate(&call, 2048).unwrap().body;
    assert_eq!(sent["options"], json!({ "num_ctx": 2048, "num_batch": 1024, "num_predict": 5 }));
}

#[tokio::test]
async fn a_model_that_does_not_load_is_no_request_at_fault() {
    let (_server, driver) = driver(recorded(&[
        ("/api/tags", "v0.33/tags"),
        ("/api/show", "v0.33/show"),
        ("/api/generate", "v0.33/load_failed_corrupt_model"),
    ]))
    .await;
    let failure =
        driver.load("gemma270", ReloadSet { context: 2048, ..ReloadSet::default() }).await.unwrap_err();
    assert_eq!((failure.class, failure.code), (Class::Model, "model_load_failed"));
}

#[tokio::test]
async fn what_embeds_is_loaded_by_embedding_nothing() {
    for (capabilities, embedding) in
        [(json!(["embedding"]), false), (json!(["completion", "embedding"]), true)]
    {
        let text = |body: Value| (200, body.to_string());
        let (server, driver) = driver(HashMap::from([
            ("/api/tags", text(json!({ "models": [{ "name": "e:latest", "digest": "d" }] }))),
            ("/api/show", text(json!({ "capabilities": capabilities }))),
            ("/api/embed", text(json!({ "embeddings": [] }))),
            ("/api/ps", text(json!({ "models": [{ "name": "e:latest", "context_length": 512 }] }))),
        ]))
        .await;
        driver.load("e", ReloadSet { context: 512, embedding, ..ReloadSet::default() }).await.unwrap();
        let sent = server.sent();
        let load = sent.iter().find(|(path, _)| path == "/api/embed").unwrap();
        assert_eq!(load.1["input"], json!([]));
    }
}

#[tokio::test]
async fn runs_a_call_and_keeps_a_refusal_whole() {
    let (server, driver) =
        driver(recorded(&[("/api/chat", "v0.33/chat_ok"), ("/api/generate", "v0.33/generate_too_long")]))
            .await;
    let body = json!({ "messages": [{ "role": "user", "content": "Name a colour." }], "max_tokens": 8 });
    let answer = driver.run(&call(Endpoint::ChatCompletions, &body)).await.unwrap();
    assert_eq!(
        (answer.prompt_tokens, answer.completion_tokens, answer.length_limited),
        (Some(22), Some(8), true)
    );
    assert_eq!(server.sent()[0].1["options"], json!({ "num_predict": 8, "num_ctx": 2048 }));

    let body = json!({ "prompt": "word" });
    let failure = driver.run(&call(Endpoint::Completions, &body)).await.unwrap_err();
    assert_eq!((failure.class, failure.code), (Class::Request, "context_length_exceeded"));
    assert_eq!(failure.status, Some(400));
    let message = &failure.body.unwrap()["error"]["message"];
    assert!(message.as_str().unwrap().starts_with("request (6399 tokens) exceeds"), "{message}");
}

#[tokio::test]
async fn nobody_there_is_down() {
    let body = json!({ "prompt": "p" });
    let (server, driver) = driver(Answers::new()).await;
    drop(server);
    let failure = driver.run(&call(Endpoint::OllamaGenerate, &body)).await.unwrap_err();
    assert_eq!((failure.class, failure.code), (Class::Down, "engine_unreachable"));
}

#[tokio::test]
async fn silence_is_down_and_a_flood_is_refused() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap()).parse().unwrap();
    let options = Options { answer_seconds: 0, token_millis: 0, ..Options::default() };
    let body = json!({ "prompt": "p" });
    let failure =
        Ollama::new(&url, options).unwrap().run(&call(Endpoint::OllamaGenerate, &body)).await.unwrap_err();
    assert_eq!((failure.class, failure.code), (Class::Down, "engine_timeout"));

    let server = Replay::start(HashMap::from([("/api/generate", (200, "x".repeat(101)))])).await;
    let options = Options { max_body_bytes: 100, ..Options::default() };
    let driver = Ollama::new(&server.url, options).unwrap();
    let failure = driver.run(&call(Endpoint::OllamaGenerate, &body)).await.unwrap_err();
    assert_eq!((failure.class, failure.code), (Class::Request, "response_too_large"));
}

#[test]
fn refuses_urls_that_are_not_plain_http() {
    for url in ["https://host:1", "unix:/run/ollama.sock"] {
        assert!(Ollama::new(&url.parse().unwrap(), Options::default()).is_err(), "{url}");
    }
}
