//! Models come and go: blobs, create, copy, pull, delete, in the words of a real Ollama.
#![expect(clippy::unwrap_used, reason = "a test ends where its client fails")]

use caravan_simulated_engine::Options;
use serde_json::{Value, json};

use crate::client::Client;

/// A digest that no file here has.
const FILE: &str = "sha256:b2f7cbd1b1ee1f4b1a5b4b7cb1b2d4f2a41b6d26a1a8e6a2b4f4b5e6c1c6a9a0";

async fn send(client: &Client, method: &str, path: &str, body: impl Into<reqwest::Body>) -> (u16, String) {
    let url = client.running.url() + path;
    let request = reqwest::Client::new().request(method.parse().unwrap(), url).body(body);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// Uploads `file` and says what its digest is.
async fn upload(client: &Client, file: &'static str) -> String {
    let (_, refused) = send(client, "POST", &format!("/api/blobs/{FILE}"), file).await;
    let refused: Value = serde_json::from_str(&refused).unwrap();
    let text = refused["error"].as_str().unwrap();
    assert!(text.starts_with(&format!("digest mismatch, expected \"{FILE}\", got \"sha256:")), "{text}");
    let digest = text.rsplit('"').nth(1).unwrap().to_owned();
    let path = format!("/api/blobs/{digest}");
    for (method, status) in [("HEAD", 404), ("POST", 201), ("HEAD", 200), ("POST", 200)] {
        assert_eq!(send(client, method, &path, file).await.0, status, "{method}");
    }
    digest
}

async fn digest_of(client: &Client, model: &str) -> Option<String> {
    let tags = client.get("/api/tags").await;
    let mut models = tags["models"].as_array().unwrap().iter();
    models.find(|listed| listed["name"] == model)?["digest"].as_str().map(str::to_owned)
}

fn statuses(lines: &str) -> Vec<String> {
    let status =
        |line| serde_json::from_str::<Value>(line).unwrap()["status"].as_str().unwrap_or("none").to_owned();
    lines.lines().map(status).collect()
}

#[tokio::test]
async fn a_model_is_created_from_an_uploaded_file_and_deleted() {
    let client = Client::start(Options::default());
    let file = upload(&client, "GGUF a").await;
    let create = json!({"model": "mine", "files": {"a.gguf": file}});
    let (status, lines) = send(&client, "POST", "/api/create", create.to_string()).await;
    let using = format!("using existing layer {file}");
    let steps = ["parsing GGUF", "verifying conversion", &using, "writing manifest", "success"];
    assert_eq!((status, statuses(&lines)), (200, steps.map(String::from).to_vec()));
    let first = digest_of(&client, "mine:latest").await.unwrap();
    let mut chat = Client::chat("", "hello");
    chat["model"] = json!("mine");
    assert_eq!(client.ask(&chat).await.0, 200);

    let other =
        json!({"model": "mine", "files": {"a.gguf": file}, "template": "{{ .Prompt }}", "stream": false});
    let (status, body) = client.post("/api/create", &other).await.unwrap();
    assert_eq!((status, body), (200, json!({"status": "success"})));
    assert_ne!(digest_of(&client, "mine:latest").await.unwrap(), first, "another template, another digest");
    client.ask(&chat).await;
    assert_eq!(client.running.stats().loads, 2, "it is another model now");

    let copy = json!({"source": "mine", "destination": "yours"}).to_string();
    assert_eq!(send(&client, "POST", "/api/copy", copy).await, (200, String::new()));
    assert_eq!(digest_of(&client, "yours:latest").await, digest_of(&client, "mine:latest").await);
    let delete = || json!({"model": "mine"}).to_string();
    assert_eq!(send(&client, "DELETE", "/api/delete", delete()).await.0, 200);
    let (status, refused) = send(&client, "DELETE", "/api/delete", delete()).await;
    assert_eq!((status, refused.as_str()), (404, r#"{"error":"model 'mine' not found"}"#));
    assert_eq!(client.ask(&chat).await.0, 404);
}

#[tokio::test]
async fn what_is_no_model_is_refused_in_the_real_words() {
    let client = Client::start(Options::default());
    let hello = upload(&client, "hello").await;
    let missing = format!("sha256:{}", "1".repeat(64));
    for (body, status, error) in [
        (json!({"model": "m"}), 400, "neither 'from' or 'files' was specified"),
        (json!({"files": {"a": hello}}), 400, "invalid model name"),
        (json!({"model": "bad name!", "files": {"a": hello}}), 400, "invalid model name"),
        (json!({"model": "m", "files": {"a": hello}}), 400, "supplied file was not in GGUF format"),
        (json!({"model": "m", "files": {"a": missing}}), 500, "no such file or directory"),
        (json!({"model": "m", "from": "nosuch"}), 500, "pull model manifest: file does not exist"),
    ] {
        let mut body = body;
        body["stream"] = json!(false);
        let (got, answer) = client.post("/api/create", &body).await.unwrap();
        assert_eq!(got, status, "{answer}");
        assert!(answer["error"].as_str().unwrap().contains(error), "{answer}");
    }
    for method in ["HEAD", "POST"] {
        assert_eq!(send(&client, method, "/api/blobs/xyz", "hello").await.0, 400);
    }
}

#[tokio::test]
async fn a_pull_tells_its_progress_and_is_had_at_its_end() {
    let options =
        Options { registry: vec!["far:1b".into()], pull_ms: 50, weights: 1_000, ..Options::default() };
    let client = Client::start(options.clone());
    let pull = json!({"model": "far:1b"});
    let (status, lines) = send(&client, "POST", "/api/pull", pull.to_string()).await;
    assert_eq!(status, 200);
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0], json!({"status": "pulling manifest"}));
    assert_eq!((&lines[1]["total"], lines[1].get("completed")), (&json!(1_000), None));
    assert_eq!((&lines[6]["completed"], &lines[11]["completed"]), (&json!(500), &json!(1_000)));
    assert_eq!(lines.last().unwrap(), &json!({"status": "success"}));
    let digest = digest_of(&client, "far:1b").await.unwrap();
    assert_eq!(lines[1]["digest"], json!(format!("sha256:{digest}")));

    let newer = Client::start(Options { revision: 1, ..options });
    let (status, body) = newer.post("/api/pull", &json!({"model": "far:1b", "stream": false})).await.unwrap();
    assert_eq!((status, body), (200, json!({"status": "success"})));
    assert_ne!(digest_of(&newer, "far:1b").await.unwrap(), digest);

    let unknown = json!({"model": "nosuch"}).to_string();
    let (status, lines) = send(&client, "POST", "/api/pull", unknown).await;
    assert_eq!((status, lines.lines().count()), (200, 2));
    assert!(lines.contains(r#"{"error":"pull model manifest: file does not exist"}"#), "{lines}");
    let (status, _) = client.post("/api/pull", &json!({"model": "nosuch", "stream": false})).await.unwrap();
    assert_eq!(status, 500);
}
