//! Every fault, seen from outside; what killed runners said in the recordings is said here too.

use std::time::Duration;

use crate::client::Client;
use caravan_simulated_engine::{Emulate, Fault, Options, Rule, SimulatedEngine, answer_for};
use futures::future::{join, join_all};
use serde_json::{Value, json};

const LOST: &str = "an error was encountered while running the model: unexpected EOF";

async fn struck(fault: Fault) -> (u16, Value) {
    let client = Client::start(Options::default());
    client.running.faults().add(Rule::always(fault));
    client.ask(&Client::chat("", "hello")).await
}

#[tokio::test]
async fn refusals_have_the_real_words() {
    for (fault, status, text) in [
        (Fault::NotFound, 404, "model 'simulated' not found"),
        (Fault::TooLong, 400, "exceed_context_size_error"),
        (Fault::Busy, 503, "server busy, please try again.  maximum pending requests exceeded"),
        (Fault::RunnerStopped, 500, "model runner has unexpectedly stopped"),
        (Fault::RunnerLost, 500, LOST),
        (Fault::NoLongerRunning, 500, "llama-server process no longer running"),
        (Fault::LoadDamaged, 500, "exceeds file size"),
        (Fault::LoadKilled, 500, "signal: killed"),
        (Fault::LoadOutOfMemory, 500, "out of memory"),
        (Fault::LoadTimeout, 500, "timed out waiting"),
        (Fault::Error { status: 502, message: "odd".into() }, 502, "odd"),
    ] {
        let (answered, body) = struck(fault.clone()).await;
        assert_eq!(answered, status, "{fault:?}");
        assert!(body["error"].as_str().unwrap().contains(text), "{fault:?}: {body}");
    }
}

#[tokio::test]
async fn an_answer_given_up_is_200_and_not_done() {
    for fault in [Fault::DoneFalse, Fault::Repeat] {
        let (status, body) = struck(fault).await;
        assert_eq!((status, &body["done"], &body["done_reason"]), (200, &json!(false), &Value::Null));
        assert!(body.get("eval_count").is_none());
    }
}

#[tokio::test]
async fn bodies_are_cut_or_no_json() {
    let client = Client::start(Options::default());
    let body = Client::chat("", "hello");
    for fault in [Fault::InvalidJson, Fault::TruncatedBody] {
        client.running.faults().add(Rule::always(fault).times(1));
        let text = client.text("/api/chat", &body).await.unwrap();
        assert!(serde_json::from_str::<Value>(&text).is_err(), "{text}");
    }
    client.running.faults().add(Rule::always(Fault::Disconnect).times(1));
    assert!(client.text("/api/chat", &body).await.is_err());
    assert_eq!(client.ask(&body).await.0, 200);
}

#[tokio::test]
async fn a_death_tells_those_on_slots_from_those_that_wait() {
    for (emulate, waiting) in [
        (Emulate::V0_33, "llama-server process no longer running: unknown "),
        (Emulate::V0_12, "llama runner process no longer running: -1 "),
    ] {
        let client = Client::start(Options { emulate, ..Options::default() });
        client.running.faults().add(Rule::always(Fault::Hang).times(10));
        let kill = async {
            client
                .until("ten in flight, four on slots", |stats| {
                    stats.in_flight == 10 && stats.prompt_tokens == 4
                })
                .await;
            client.running.crash();
        };
        let body = Client::chat("", "hello");
        let (answers, ()) = join(join_all((0..10).map(|_| client.ask(&body))), kill).await;
        let said = |text: &str| {
            answers.iter().filter(|(status, body)| *status == 500 && body["error"] == text).count()
        };
        assert_eq!((said(LOST), said(waiting)), (4, 6), "{answers:?}");
        assert_eq!(client.ask(&body).await.0, 200);
        let stats = client.running.stats();
        assert_eq!((stats.loads, stats.crashes, stats.in_flight), (2, 1, 0));
    }
}

#[tokio::test]
async fn a_poison_request_kills_the_runner_whenever_it_comes() {
    let client = Client::start(Options { recovery_ms: 30, ..Options::default() });
    client.running.faults().add(Rule::always(Fault::Crash).containing("POISON"));
    for _ in 0..2 {
        let (status, body) = client.ask(&Client::chat("", "a POISON b")).await;
        assert_eq!((status, &body["error"]), (500, &json!(LOST)));
        let (status, body) = client.ask(&Client::chat("", "fine")).await;
        assert_eq!(status, 200);
        assert!(body["load_duration"].as_u64().unwrap() >= 30_000_000, "{body}");
    }
    assert_eq!(client.running.stats().crashes, 2);
}

#[tokio::test]
async fn a_stream_that_dies_ends_with_an_error_line() {
    let client = Client::start(Options { decode: 4.0, ..Options::default() });
    let mut body = Client::chat("", "hello");
    body["stream"] = json!(true);
    let kill = async {
        client.until("on its slot", |stats| stats.prompt_tokens == 1).await;
        client.running.crash();
    };
    let (text, ()) = join(client.text("/api/chat", &body), kill).await;
    let text = text.unwrap();
    assert_eq!(text.lines().last().unwrap(), json!({"error": LOST}).to_string());
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_slot_and_its_place() {
    let client = Client::start(Options { slots: 1, ..Options::default() });
    client.running.faults().add(Rule::always(Fault::Hang).containing("stuck"));
    let stuck = Client::chat("", "stuck");
    let (one, two) = (client.ask(&stuck), client.ask(&stuck));
    let both = join(one, two);
    tokio::select! {
        _ = both => panic!("a hang answered"),
        () = client.until("both there", |stats| stats.in_flight == 2 && stats.prompt_tokens == 1) => {}
    }
    assert_eq!(client.get("/api/version").await["version"], "0.33.0");
    // Both are gone now: the connection of a dropped call is closed.
    assert_eq!(client.ask(&Client::chat("", "fine")).await.0, 200);
}

#[tokio::test]
async fn a_dead_process_is_gone_until_another_takes_its_place() {
    let client = Client::start(Options::default());
    let address = client.running.address();
    client.running.faults().add(Rule::always(Fault::Exit).nth(2));
    let body = Client::chat("", "hello");
    assert_eq!(client.ask(&body).await.0, 200);
    assert!(client.post("/api/chat", &body).await.is_err());
    client.running.stopped().await;
    let again = loop {
        match SimulatedEngine::start(Options { listen: address, ..Options::default() }) {
            Ok(running) => break running,
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    assert_eq!(client.ask(&body).await.0, 200);
    assert_eq!(again.stats().requests, 1);
}

#[tokio::test]
async fn faults_and_statistics_go_over_http_too() {
    let client = Client::start(Options::default());
    let http = reqwest::Client::new();
    let url = |path: &str| client.running.url() + path;
    let rules = json!([{"fault": {"kind": "busy"}, "count": 1}, {"fault": {"kind": "slow", "millis": 1}, "contains": "x"}]);
    let post = |path, body: Value| {
        http.post(url(path)).header("content-type", "application/json").body(body.to_string())
    };
    assert_eq!(post("/sim/faults", rules).send().await.unwrap().status(), 204);
    let body = Client::chat("", "hello");
    assert_eq!(client.ask(&body).await.0, 503);
    let (status, answer) = client.ask(&body).await;
    assert_eq!(status, 200);
    assert!(answer["message"]["content"].as_str().unwrap().starts_with(&answer_for("hello")));
    let stats = client.get("/sim/stats").await;
    assert_eq!((&stats["requests"], &stats["faults"], &stats["answers"]), (&json!(2), &json!(1), &json!(1)));
    assert_eq!(post("/sim/reset", Value::Null).send().await.unwrap().status(), 204);
    assert_eq!(client.get("/sim/stats").await["requests"], 0);
}
