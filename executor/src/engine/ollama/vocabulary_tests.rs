//! What the driver tells of vocabularies and templates.

use std::collections::HashMap;

use caravan_request::Endpoint;
use caravan_simulated_engine::SimulatedEngine;
use caravan_tokenize::{Definition, build};
use serde_json::{Value, json};

use super::{Ollama, recordings};
use crate::engine::replay::{Answers, Replay};
use crate::engine::{Call, Class, Engine, Options, ReloadSet, Tokenizers, Turn};

const CHAT: [Turn; 2] =
    [Turn { role: "system", content: "You are terse." }, Turn { role: "user", content: "Name a colour." }];

async fn driver(answers: Answers) -> (Replay, Ollama) {
    let server = Replay::start(answers).await;
    let driver = Ollama::new(&server.url, Options::default()).unwrap();
    (server, driver)
}

fn text(body: &Value) -> (u16, String) {
    (200, body.to_string())
}

async fn shown(info: Value) -> Result<Definition, crate::engine::Failure> {
    let (server, driver) = driver(HashMap::from([("/api/show", text(&json!({ "model_info": info })))])).await;
    let read = driver.vocabulary("m").await.map(|bytes| Definition::decode(&bytes).unwrap());
    assert_eq!(server.sent()[0].1, json!({ "model": "m", "verbose": true }));
    read
}

#[tokio::test]
async fn a_verbose_show_is_a_vocabulary() {
    let json = r#"{"model":{}}"#;
    let info = json!({
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": ["a", "b"], "tokenizer.huggingface.json": json,
    });
    let Definition::Vocabulary(vocabulary) = shown(info).await.unwrap() else {
        panic!("not the engine's own")
    };
    assert_eq!((vocabulary.model(), vocabulary.tokens()), ("gpt2", 2));
    let only = shown(json!({ "tokenizer.huggingface.json": json })).await.unwrap();
    assert_eq!(only, Definition::TokenizerJson(json.into()));
    let none =
        shown(json!({ "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": null })).await.unwrap_err();
    assert_eq!((none.class, none.code), (Class::Model, "no_vocabulary"));
    assert!(none.message.contains("tokenizer.ggml.tokens"), "{none}");
}

#[tokio::test]
async fn renders_as_it_would_ask() {
    let case = &recordings::all()["v0.33/chat_debug_render"];
    let recorded = case["response"]["body"].as_str().unwrap().to_owned();
    let (server, driver) = driver(HashMap::from([("/api/chat", (200, recorded))])).await;
    let set = ReloadSet { context: 2048, batch: 512, embedding: false };
    let prompt = driver.render("gemma270", set, &CHAT).await.unwrap().unwrap();
    assert!(prompt.starts_with("<start_of_turn>user\nYou are terse.<end_of_turn>"), "{prompt}");
    let expected = json!({
        "model": "gemma270", "messages": CHAT, "truncate": false, "keep_alive": -1, "stream": false,
        "shift": false, "think": false, "_debug_render_only": true,
        "options": { "num_ctx": 2048, "num_batch": 512, "num_predict": 1 },
    });
    assert_eq!(server.sent()[0].1, expected);
}

#[tokio::test]
async fn a_release_that_answers_instead_renders_nothing() {
    let (_server, driver) =
        driver(HashMap::from([("/api/chat", text(&json!({ "message": { "content": "B" }, "done": true })))]))
            .await;
    assert_eq!(driver.render("m", ReloadSet::default(), &CHAT).await.unwrap(), None);
}

#[tokio::test]
async fn models_are_keyed_by_digest_and_by_the_file_that_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokenizer.json");
    std::fs::write(&path, "{}").unwrap();
    let info = json!({ "general.architecture": "gemma3", "gemma3.attention.sliding_window": 512 });
    let (_server, driver) = driver(HashMap::from([
        ("/api/version", text(&json!({ "version": "0.33.0" }))),
        ("/api/ps", text(&json!({ "models": [] }))),
        ("/api/tags", text(&json!({ "models": [{ "name": "m:latest", "digest": "d" }] }))),
        ("/api/show", text(&json!({ "model_info": info }))),
    ]))
    .await;
    let model = driver.describe().await.unwrap().models.remove(0);
    assert_eq!((model.vocabulary.as_str(), model.sliding_window), ("d", Some(512)));

    let driver = driver.with_tokenizers(Tokenizers::new([("m".to_owned(), path.clone())].into()));
    let named = driver.describe().await.unwrap().models.remove(0).vocabulary;
    assert!(named.starts_with("d-"), "{named}");
    let read = Definition::decode(&driver.vocabulary("m:latest").await.unwrap()).unwrap();
    assert_eq!(read, Definition::TokenizerJson("{}".into()));
    std::fs::remove_file(path).unwrap();
    assert_eq!(driver.describe().await.unwrap().models[0].vocabulary, "");
}

#[tokio::test]
async fn a_rendered_prompt_has_the_tokens_that_an_engine_evaluates() {
    let options = caravan_simulated_engine::Options { template_tokens: 3, ..Default::default() };
    let running = SimulatedEngine::start(options).unwrap();
    let driver = Ollama::new(&running.url().parse().unwrap(), Options::default()).unwrap();
    let model = driver.describe().await.unwrap().models.remove(0);
    assert_eq!(model.vocabulary, model.digest);
    let set = ReloadSet { context: 2048, batch: 512, embedding: false };
    driver.load(&model.name, set).await.unwrap();
    let definition = Definition::decode(&driver.vocabulary(&model.name).await.unwrap()).unwrap();
    let prompt = driver.render(&model.name, set, &CHAT).await.unwrap().unwrap();
    let body = json!({ "messages": CHAT });
    let call = Call::new(Endpoint::OllamaChat, &model.name, body.as_object().unwrap(), set);
    let evaluated = driver.run(&call).await.unwrap().prompt_tokens;
    assert_eq!(Some(build(&definition).unwrap().count(&prompt)), evaluated);
    assert_eq!(running.stats().loads, 1, "rendered with the set of the requests");
}
