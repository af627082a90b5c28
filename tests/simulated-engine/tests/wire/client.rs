//! A small client for the tests: one call a request.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where its client fails")]

use std::time::{Duration, Instant};

use anyhow::Context;
use caravan_simulated_engine::{Options, Running, SimulatedEngine, Snapshot};
use serde_json::{Value, json};

/// No wait of a test takes longer than this.
const PATIENCE: Duration = Duration::from_secs(20);

/// An engine and a client for it.
pub(crate) struct Client {
    pub(crate) running: Running,
    http: reqwest::Client,
}

impl Client {
    pub(crate) fn start(options: Options) -> Self {
        let running = SimulatedEngine::start(options).unwrap();
        let http = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
        Self { running, http }
    }

    /// A request in the form that a batch sends: no stream, no truncation, no shift.
    pub(crate) fn chat(system: &str, user: &str) -> Value {
        json!({"model": "simulated", "stream": false, "truncate": false, "shift": false, "keep_alive": -1,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": user}],
            "options": {"num_ctx": 4096, "num_predict": 8}})
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
        let answer = self.http.post(self.running.url() + path).body(body.to_string()).send().await?;
        let status = answer.status().as_u16();
        let text = answer.text().await.context("body cut")?;
        Ok((status, serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))?))
    }

    /// The text of a whole response body, whatever it is.
    pub(crate) async fn text(&self, path: &str, body: &Value) -> anyhow::Result<String> {
        let answer = self.http.post(self.running.url() + path).body(body.to_string()).send().await?;
        Ok(answer.text().await?)
    }

    pub(crate) async fn ask(&self, body: &Value) -> (u16, Value) {
        self.post("/api/chat", body).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let text = self.http.get(self.running.url() + path).send().await.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Waits until the statistics are as `wanted` says.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Snapshot) -> bool) {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if wanted(&self.running.stats()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("never {what}; last seen: {:?}", self.running.stats());
    }

    /// Waits until no model is loaded: an unload is answered before it is done.
    pub(crate) async fn until_unloaded(&self) {
        let started = Instant::now();
        while self.get("/api/ps").await["models"] != json!([]) {
            assert!(started.elapsed() < PATIENCE, "still loaded: {}", self.get("/api/ps").await);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
