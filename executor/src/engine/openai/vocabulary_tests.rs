//! What the driver tells of vocabularies and templates.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use caravan_tokenize::Definition;
use serde_json::{Value, json};

use super::OpenAi;
use crate::engine::replay::{Answers, Replay};
use crate::engine::{Engine, Model, Options, ReloadSet, Tokenizers, Turn};

fn text(body: &Value) -> (u16, String) {
    (200, body.to_string())
}

fn server(path: &Path, template: &str) -> Answers {
    HashMap::from([
        ("/v1/models", text(&json!({ "data": [{ "id": "g" }] }))),
        ("/props", text(&json!({ "model_path": path, "chat_template": template, "build_info": "b1" }))),
        ("/apply-template", text(&json!({ "prompt": "<hi>" }))),
    ])
}

/// A GGUF of a vocabulary of two tokens, and a window.
fn gguf() -> Vec<u8> {
    fn string(text: &str) -> Vec<u8> {
        [(text.len() as u64).to_le_bytes().as_slice(), text.as_bytes()].concat()
    }
    let texts = |key: &str, text: &str| [string(key), 8_u32.to_le_bytes().into(), string(text)].concat();
    let entries = [
        texts("general.architecture", "gemma3"),
        texts("tokenizer.ggml.model", "gpt2"),
        [string("gemma3.attention.sliding_window"), 4_u32.to_le_bytes().into(), 512_u32.to_le_bytes().into()]
            .concat(),
        [
            string("tokenizer.ggml.tokens"),
            9_u32.to_le_bytes().into(),
            8_u32.to_le_bytes().into(),
            2_u64.to_le_bytes().into(),
            string("a"),
            string("b"),
        ]
        .concat(),
    ];
    let start = [
        b"GGUF".to_vec(),
        3_u32.to_le_bytes().into(),
        0_u64.to_le_bytes().into(),
        4_u64.to_le_bytes().into(),
    ];
    [start.concat(), entries.concat()].concat()
}

async fn described(answers: Answers, tokenizers: Tokenizers) -> (Replay, OpenAi, Model) {
    let server = Replay::start(answers).await;
    let driver = OpenAi::new(&server.url, Options::default()).unwrap().with_tokenizers(tokenizers);
    let model = driver.describe().await.unwrap().models.remove(0);
    (server, driver, model)
}

#[tokio::test]
async fn the_file_of_a_llama_server_is_read_if_it_is_here() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("g.gguf");
    let (_server, driver, model) = described(server(&path, "t"), Tokenizers::default()).await;
    assert_eq!(model.vocabulary, "", "on another host");
    assert_eq!(driver.vocabulary("g").await.unwrap_err().code, "no_vocabulary");

    std::fs::write(&path, gguf()).unwrap();
    let (_server, driver, model) = described(server(&path, "t"), Tokenizers::default()).await;
    assert_eq!((model.vocabulary.len(), model.sliding_window), (64, Some(512)));
    let read = Definition::decode(&driver.vocabulary("g").await.unwrap()).unwrap();
    assert!(matches!(read, Definition::Vocabulary(vocabulary) if vocabulary.tokens() == 2));
    let (_server, _driver, other) = described(server(&path, "another"), Tokenizers::default()).await;
    assert_ne!(other.vocabulary, model.vocabulary, "templates differ");
}

/// As one reads it that was started as `llama-server -m models/g.gguf`.
#[tokio::test]
async fn a_relative_file_is_looked_for_where_the_server_works() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("g.gguf"), gguf()).unwrap();
    // The server is this process.
    let up = std::env::current_dir().unwrap().components().skip(1).map(|_| "..").collect::<PathBuf>();
    let path = up.join(directory.path().strip_prefix("/").unwrap()).join("g.gguf");
    let (_server, driver, model) = described(server(&path, ""), Tokenizers::default()).await;
    assert_eq!((model.vocabulary.len(), model.sliding_window), (64, Some(512)), "{}", path.display());
    assert_eq!(driver.describe().await.unwrap().models[0].vocabulary, model.vocabulary, "found again");
}

#[tokio::test]
async fn the_file_that_is_named_wins() {
    let directory = tempfile::tempdir().unwrap();
    let (own, named) = (directory.path().join("g.gguf"), directory.path().join("tokenizer.json"));
    std::fs::write(&own, gguf()).unwrap();
    std::fs::write(&named, "{}").unwrap();
    let tokenizers = Tokenizers::new([("g".to_owned(), named)].into());
    let (_server, driver, model) = described(server(&own, ""), tokenizers).await;
    assert_eq!((model.vocabulary.len(), model.sliding_window), (64, None));
    let read = Definition::decode(&driver.vocabulary("g").await.unwrap()).unwrap();
    assert_eq!(read, Definition::TokenizerJson("{}".into()));
}

#[tokio::test]
async fn llama_server_renders_and_vllm_does_not() {
    let chat = [Turn { role: "user", content: "hi" }];
    let (replay, driver, _) = described(server(Path::new("/nowhere"), ""), Tokenizers::default()).await;
    assert_eq!(driver.render("g", ReloadSet::default(), &chat).await.unwrap().as_deref(), Some("<hi>"));
    let (path, body) = replay.sent().pop().unwrap();
    assert_eq!(
        (path.as_str(), &body["messages"]),
        ("/apply-template", &json!([{ "role": "user", "content": "hi" }]))
    );
    let vllm = HashMap::from([("/v1/models", text(&json!({ "data": [{ "id": "q", "max_model_len": 9 }] })))]);
    let (_replay, driver, _) = described(vllm, Tokenizers::default()).await;
    assert_eq!(driver.render("q", ReloadSet::default(), &chat).await.unwrap(), None);
}
