//! Releases, families, templates and windows with peculiarities.
#![expect(clippy::unwrap_used, reason = "a test ends where its client fails")]

use caravan_simulated_engine::{Options, text_of};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::client::Client;

fn release(version: &str) -> Client {
    Client::start(Options { release: Some(version.into()), ..Options::default() })
}

/// A request in the form that a batch sends, with these options.
fn chat(system: &str, user: &str, options: &Value) -> Value {
    let mut body = Client::chat(system, user);
    body["options"] = options.clone();
    body
}

#[tokio::test]
async fn old_releases_cut_whatever_they_are_told() {
    let body = chat("", &text_of("word", 2_000), &json!({"num_ctx": 1_000}));
    for (version, status) in [("0.12.5", 200), ("0.12.6", 400), ("0.0.0", 400), ("0.33.0", 400)] {
        let client = release(version);
        let (got, answer) = client.ask(&body).await;
        assert_eq!(got, status, "{version}");
        assert_eq!(client.get("/api/version").await["version"], version);
        if status == 200 {
            assert_eq!(answer["prompt_eval_count"], 502);
        }
    }
}

#[tokio::test]
async fn a_build_from_a_source_tree_does_not_say_what_it_is() {
    let (release, reports) = (Some("0.12.5".into()), Some("0.0.0".into()));
    let client = Client::start(Options { release, reports, ..Options::default() });
    assert_eq!(client.get("/api/version").await["version"], "0.0.0");
    let body = chat("", &text_of("word", 2_000), &json!({"num_ctx": 1_000}));
    assert_eq!(client.ask(&body).await.0, 200);
}

#[tokio::test]
async fn what_came_from_a_cache_is_counted_as_the_release_does() {
    let body = Client::chat(&text_of("rule", 100), "hello");
    for (version, counted, cached) in
        [("0.30.0", 1, None), ("0.30.1", 101, None), ("0.33.3", 101, Some(100)), ("0.0.0", 101, None)]
    {
        let client = release(version);
        client.ask(&body).await;
        let (_, answer) = client.ask(&body).await;
        assert_eq!(answer["prompt_eval_count"], json!(counted), "{version}");
        assert_eq!(answer["prompt_eval_cached_count"].as_u64(), cached, "{version}");
    }
}

#[tokio::test]
async fn the_default_context_is_the_tiers_for_every_slot() {
    let client = Client::start(Options { context: 0, vram: Some(23 << 30), ..Options::default() });
    let mut body = Client::chat("", "hello");
    body["options"] = json!({});
    client.ask(&body).await;
    let ps = client.get("/api/ps").await["models"][0].clone();
    assert_eq!(ps["context_length"], 32_768);
    assert_eq!(ps["size"], 8_205_474_201_u64 + 4 * 32_768 * 131_072);
    assert!(ps["size_vram"].as_u64() < ps["size"].as_u64(), "and does not fit: {ps}");
}

#[tokio::test]
async fn some_families_answer_one_after_the_other() {
    for (family, at_least) in [("llama", 0), ("qwen35", 4 * 30)] {
        let client = Client::start(Options { family: family.into(), answer_ms: 30, ..Options::default() });
        let body = Client::chat("", "hello");
        client.ask(&body).await;
        let started = std::time::Instant::now();
        join_all((0..4).map(|_| client.ask(&body))).await;
        assert!(started.elapsed().as_millis() >= at_least, "{family}: {:?}", started.elapsed());
        let (_, shown) = client.post("/api/show", &json!({"model": "simulated"})).await.unwrap();
        assert_eq!(shown["model_info"]["general.architecture"], family);
        assert_eq!(shown["model_info"][format!("{family}.block_count")], 32);
    }
}

#[tokio::test]
async fn the_same_overflow_is_cut_or_refused_by_the_way_the_template_takes() {
    let client = Client::start(Options { native_models: vec!["native".into()], ..Options::default() });
    let mut body = json!({"model": "simulated", "stream": false, "options": {"num_ctx": 1_000},
        "messages": [{"role": "user", "content": text_of("word", 2_000)}]});
    assert_eq!(client.ask(&body).await.0, 200);
    body["model"] = json!("native");
    assert_eq!(client.ask(&body).await.0, 400);
}

/// Prompt tokens evaluated of the second of two prompts that share `prefix` tokens.
async fn evaluated(options: Options, prefix: usize, suffix: usize, batch: u64) -> u64 {
    let client = Client::start(Options { slots: 1, sliding_window: 1_024, ..options });
    let options = json!({"num_ctx": 8_192, "num_batch": batch, "num_predict": 8});
    let shared = text_of("rule", prefix);
    client.ask(&chat(&shared, &text_of("one", suffix), &options)).await;
    let before = client.running.stats().evaluated_tokens;
    client.ask(&chat(&shared, &text_of("two", suffix), &options)).await;
    client.running.stats().evaluated_tokens - before
}

#[tokio::test]
async fn a_window_forgets_prefixes() {
    let whole = || Options { swa_full: true, ..Options::default() };
    assert_eq!(evaluated(Options::default(), 1_500, 110, 512).await, 110);
    assert_eq!(evaluated(Options::default(), 1_500, 640, 512).await, 2_140, "more than a batch");
    assert_eq!(evaluated(Options::default(), 1_500, 640, 1_024).await, 640);
    assert_eq!(evaluated(Options::default(), 600, 110, 512).await, 710, "within the window");
    assert_eq!(evaluated(whole(), 600, 110, 512).await, 110);
    assert_eq!(evaluated(whole(), 1_500, 640, 512).await, 640);
}

/// Kilobytes of anonymous memory of this process.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn memory_grows_by_the_request_and_goes_with_the_runner() {
    let client = Client::start(Options { leak_kib: 8 << 10, ..Options::default() });
    let body = Client::chat("", "hello");
    client.ask(&body).await;
    let before = resident();
    for _ in 0..20 {
        client.ask(&body).await;
    }
    let grown = resident().saturating_sub(before);
    assert!(grown > 19 * (8 << 10), "{grown} KiB");
    client.running.crash();
    let freed = resident();
    assert!(freed < before + grown / 2, "{freed} KiB of {before} and {grown}");
}
