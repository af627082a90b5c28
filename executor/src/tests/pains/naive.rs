//! A client that knows nothing of engines: it sends what a tutorial shows and believes a status of 200.

use std::time::Duration;

use caravan_simulated_engine::{Options as Sim, Running, SimulatedEngine};
use futures::future::join_all;
use serde_json::{Value, json};

use super::super::PATIENCE;

/// A client and an engine for it alone.
pub(super) struct Naive {
    pub(super) engine: Running,
    client: Client,
}

/// A client of an engine that somebody else uses too.
pub(super) struct Client {
    url: String,
    http: reqwest::Client,
}

/// Long enough to see that an instant engine does not answer.
const NEVER: Duration = Duration::from_millis(150);

// === impl Naive ===

impl Naive {
    pub(super) fn new(sim: &Sim) -> Self {
        let engine = SimulatedEngine::start(sim.clone()).unwrap();
        let client = Client::of(&engine);
        Self { engine, client }
    }
}

impl std::ops::Deref for Naive {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

// === impl Client ===

impl Client {
    pub(super) fn of(engine: &Running) -> Self {
        Self::at(&engine.url())
    }

    pub(super) fn at(url: &str) -> Self {
        let http = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
        Self { url: url.into(), http }
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let answer = self.http.post(format!("{}{path}", self.url)).json(body).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap())
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        self.http.get(format!("{}{path}", self.url)).send().await.unwrap().json().await.unwrap()
    }

    /// One question to the model `simulated`, without any option.
    pub(super) async fn ask(&self, question: &str) -> (u16, Value) {
        self.chat(json!([{"role": "user", "content": question}]), json!({})).await
    }

    pub(super) async fn chat(&self, messages: Value, options: Value) -> (u16, Value) {
        let body = json!({"model": "simulated", "stream": false, "messages": messages, "options": options});
        self.post("/api/chat", &body).await
    }

    /// The statuses of so many questions at once.
    pub(super) async fn rush(&self, questions: usize) -> Vec<u16> {
        let asked = (0..questions).map(|n| async move { self.ask(&format!("rush {n}")).await.0 });
        join_all(asked).await
    }

    /// Whether a question is not answered, though the engine says that it is well.
    pub(super) async fn hangs_while_green(&self) -> bool {
        let hangs = tokio::time::timeout(NEVER, self.ask("hello")).await.is_err();
        hangs
            && self.get("/api/tags").await["models"].is_array()
            && self.get("/api/version").await.is_object()
    }

    /// What `/api/ps` says of the model that is loaded.
    pub(super) async fn loaded(&self) -> Value {
        self.get("/api/ps").await["models"][0].clone()
    }

    /// Asks for a stream, with these fields beside, and leaves after its first bytes.
    pub(super) async fn leave_a_stream(&self, fields: &[(&str, Value)]) {
        let messages = json!([{"role": "user", "content": "a long story"}]);
        let mut body = json!({"model": "simulated", "messages": messages});
        for (name, value) in fields {
            body[*name] = value.clone();
        }
        let sent = self.http.post(format!("{}/api/chat", self.url)).json(&body).send().await;
        assert!(sent.unwrap().chunk().await.unwrap().is_some());
    }

    /// Has the simulation do something: `deadlock`, `release`, `freeze`, ….
    pub(super) async fn simulate(&self, what: &str) {
        let sent = self.http.post(format!("{}/sim/{what}", self.url)).send().await;
        assert_eq!(sent.unwrap().status(), 204);
    }
}
