//! Engines that take requests and do not answer them, while their API is green.
#![expect(clippy::unwrap_used, reason = "a test ends where its client fails")]

use std::time::Duration;

use caravan_simulated_engine::{Fault, Options, Rule, answer_for};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::client::Client;

/// Long enough to see that nothing comes.
const NEVER: Duration = Duration::from_millis(200);

async fn hangs(client: &Client, body: &Value) -> bool {
    tokio::time::timeout(NEVER, client.ask(body)).await.is_err()
}

async fn is_green(client: &Client) -> bool {
    let version = client.get("/api/version").await;
    version["version"].is_string() && client.get("/api/tags").await["models"][0]["name"] == "simulated:latest"
}

/// Asks for a stream and leaves after its first bytes.
async fn leave_a_stream(client: &Client) {
    let mut body = Client::chat("", "hello");
    body["stream"] = json!(true);
    let url = client.running.url() + "/api/chat";
    let mut answer = reqwest::Client::new().post(url).body(body.to_string()).send().await.unwrap();
    assert!(answer.chunk().await.unwrap().is_some());
}

#[tokio::test]
async fn a_frozen_runner_hangs_until_it_goes_on_or_is_unloaded() {
    let client = Client::start(Options { slots: 1, ..Options::default() });
    let body = Client::chat("", "hello");
    client.ask(&body).await;
    client.running.freeze();
    assert!(hangs(&client, &body).await && is_green(&client).await);
    assert_eq!(client.get("/api/ps").await["models"][0]["name"], "simulated:latest");
    client.running.thaw();
    assert_eq!(client.ask(&body).await.0, 200);

    client.running.freeze();
    assert!(hangs(&client, &body).await);
    let unload = json!({"model": "simulated", "messages": [], "keep_alive": 0, "stream": false});
    assert_eq!(client.ask(&unload).await.1["done_reason"], "unload");
    client.until_unloaded().await;
    assert_eq!(client.ask(&body).await.0, 200, "another runner took its place");
    assert_eq!(client.running.stats().loads, 2);

    client.running.freeze();
    let before = client.running.stats().prompt_tokens;
    let (answer, ()) = futures::future::join(client.ask(&body), async {
        client.until("it is on a slot", |stats| stats.prompt_tokens > before).await;
        client.running.crash();
    })
    .await;
    assert_eq!(answer.0, 500, "a frozen runner can be killed");
}

#[tokio::test]
async fn a_deadlocked_scheduler_serves_nobody_until_it_is_released() {
    let client = Client::start(Options::default());
    let body = Client::chat("", "hello");
    client.ask(&body).await;
    let http = reqwest::Client::new();
    let sim =
        async |what: &str| http.post(client.running.url() + "/sim/" + what).send().await.unwrap().status();
    assert_eq!(sim("deadlock").await, 204);
    assert!(hangs(&client, &body).await && is_green(&client).await);
    assert_eq!(client.get("/api/ps").await["models"], json!([]));
    assert_eq!(sim("release").await, 204);
    assert_eq!(client.ask(&body).await.0, 200);
}

#[tokio::test]
async fn a_client_that_leaves_a_stream_takes_a_slot_with_it() {
    let options =
        Options { slots: 2, decode: 100.0, answer_tokens: 4_000, leak_streams: true, ..Options::default() };
    let client = Client::start(options);
    for lost in 1..=2 {
        leave_a_stream(&client).await;
        client.until("the slot is lost", |stats| stats.lost_slots == lost && stats.in_flight == 0).await;
    }
    assert_eq!(client.running.stats().streams, 2);
    let mut body = Client::chat("", "hello");
    body["options"]["num_predict"] = json!(1);
    assert!(hangs(&client, &body).await && is_green(&client).await);
    let unload = json!({"model": "simulated", "messages": [], "keep_alive": 0, "stream": false});
    client.ask(&unload).await;
    client.until_unloaded().await;
    assert_eq!(client.ask(&body).await.0, 200, "a load brings them back");
}

#[tokio::test]
async fn one_that_reads_its_stream_to_the_end_or_has_none_takes_nothing() {
    let client = Client::start(Options { slots: 1, leak_streams: true, ..Options::default() });
    let mut body = Client::chat("", "hello");
    body["stream"] = json!(true);
    client.text("/api/chat", &body).await.unwrap();
    client.running.faults().add(Rule::always(Fault::Hang).times(1));
    body["stream"] = json!(false);
    assert!(hangs(&client, &body).await);
    assert_eq!(client.ask(&body).await.0, 200);
    assert_eq!(client.running.stats().lost_slots, 0);
}

#[tokio::test]
async fn an_endless_answer_ends_at_its_limit_only() {
    let client = Client::start(Options::default());
    client.running.faults().add(Rule::always(Fault::Endless));
    let mut body = json!({"model": "simulated", "stream": false, "options": {"num_ctx": 256},
        "messages": [{"role": "user", "content": "hello"}]});
    assert_eq!(client.ask(&body).await.1["eval_count"], 2_560, "ten contexts");
    body["options"]["num_predict"] = json!(20);
    let (_, answer) = client.ask(&body).await;
    assert_eq!((&answer["eval_count"], &answer["done_reason"]), (&json!(20), &json!("length")));
}

#[tokio::test]
async fn answers_differ_with_what_runs_beside_them() {
    let client = Client::start(Options { nondeterministic: true, ..Options::default() });
    let body = Client::chat("a rule", "hello");
    let said = |(_, answer): (u16, Value)| answer["message"]["content"].as_str().unwrap().to_owned();
    let (cold, warm) = (said(client.ask(&body).await), said(client.ask(&body).await));
    assert_ne!(cold, warm);
    assert!(cold.starts_with(&answer_for("hello")) && warm.starts_with(&answer_for("hello")));
    let steady = Client::start(Options::default());
    let all = join_all((0..4).map(|_| steady.ask(&body))).await.into_iter().map(said).collect::<Vec<_>>();
    assert!(all.iter().all(|one| *one == all[0]));
}
