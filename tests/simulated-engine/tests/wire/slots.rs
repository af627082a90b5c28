//! Slots, their caches, the queue and reloads, seen from outside.

use crate::client::Client;
use caravan_simulated_engine::{Emulate, Fault, Options, Rule, answer_for, text_of};
use caravan_tokenize::{Definition, build};
use futures::future::{join, join_all};
use serde_json::{Value, json};

fn evaluated(client: &Client) -> (u64, u64) {
    let stats = client.running.stats();
    (stats.evaluated_tokens, stats.cached_tokens)
}

#[tokio::test]
async fn an_answer_says_whose_it_is_and_what_it_took() {
    let client = Client::start(Options { report_cached: true, ..Options::default() });
    let system = text_of("rule", 2_400);
    let body = Client::chat(&system, "marker=one What colour?");
    for cached in [0, 2_402] {
        let (status, answer) = client.ask(&body).await;
        assert_eq!((status, &answer["done"], &answer["done_reason"]), (200, &json!(true), &json!("length")));
        let text = answer["message"]["content"].as_str().unwrap();
        assert!(text.starts_with(&answer_for("marker=one What colour?")), "{text}");
        assert_eq!((&answer["prompt_eval_count"], &answer["eval_count"]), (&json!(2_403), &json!(8)));
        assert_eq!(answer["prompt_eval_cached_count"], json!(cached));
    }
    let stats = client.running.stats();
    assert_eq!((stats.requests, stats.answers, stats.max_context, stats.loads), (2, 2, 2_411, 1));
    assert_eq!(stats.markers["one"], 2);
    let system = stats.system_prompts.values().next().unwrap();
    assert_eq!((system.tokens, system.requests, system.evaluated_in_full), (2_400, 2, 1));
    assert_eq!((system.evaluated_tokens, system.cached_tokens), (2_400, 2_400));
}

#[tokio::test]
async fn what_it_shows_and_renders_counts_what_it_evaluates() {
    let client = Client::start(Options { template_tokens: 5, ..Options::default() });
    let verbose = json!({"model": "simulated", "verbose": true});
    let (_, shown) = client.post("/api/show", &verbose).await.unwrap();
    let vocabulary = shown["model_info"]["tokenizer.huggingface.json"].as_str().unwrap().to_owned();
    let tokenizer = build(&Definition::TokenizerJson(vocabulary)).unwrap();
    let mut body = Client::chat("You are  terse,\nand\tkind.", "marker=one What colour?");
    let (_, answer) = client.ask(&body).await;
    body["_debug_render_only"] = json!(true);
    let (_, rendered) = client.ask(&body).await;
    let prompt = rendered["_debug_info"]["rendered_template"].as_str().unwrap();
    assert_eq!(json!(tokenizer.count(prompt)), answer["prompt_eval_count"]);
    assert_eq!(answer["prompt_eval_count"], json!(5 + 5 + 5 + 3));
}

#[tokio::test]
async fn a_prefix_is_evaluated_once_a_slot() {
    // All of the first burst wait for the load, so each of them gets a cold slot.
    let client = Client::start(Options { load_ms: 300, ..Options::default() });
    let system = text_of("rule", 600);
    let bodies: Vec<Value> =
        (0..16).map(|n| Client::chat(&system, &text_of(&format!("own{n}"), 10))).collect();
    for burst in bodies.chunks(4) {
        join_all(burst.iter().map(|body| client.ask(body))).await;
    }
    assert_eq!(evaluated(&client), (4 * 600 + 16 * 10, 12 * 600));
    assert_eq!(client.running.stats().system_prompts.values().next().unwrap().evaluated_in_full, 4);
}

#[tokio::test]
async fn a_growing_chat_evaluates_only_what_is_new() {
    let client = Client::start(Options { answer_tokens: 300, ..Options::default() });
    let mut messages = vec![json!({"role": "system", "content": text_of("rule", 2_400)})];
    for turn in 0..10 {
        messages.push(json!({"role": "user", "content": text_of(&format!("turn{turn}"), 600)}));
        let body = json!({"model": "simulated", "stream": false, "truncate": false, "shift": false,
            "messages": messages, "options": {"num_ctx": 102_400}});
        let (status, answer) = client.ask(&body).await;
        assert_eq!(status, 200);
        assert_eq!((&answer["eval_count"], &answer["done_reason"]), (&json!(300), &json!("stop")));
        messages.push(answer["message"].clone());
    }
    assert_eq!(evaluated(&client).0, 2_400 + 10 * 600);
    assert_eq!(client.running.stats().max_context, 2_400 + 10 * 900);
}

#[tokio::test]
async fn who_waits_is_served_in_order() {
    let client = Client::start(Options { slots: 1, ..Options::default() });
    client.running.faults().add(Rule::always(Fault::Slow { millis: 50 }));
    let order = std::sync::Mutex::new(Vec::new());
    let calls = (0..6_u64).map(|n| {
        let (client, order) = (&client, &order);
        async move {
            client.until("its turn to arrive", |stats| stats.requests == n).await;
            assert_eq!(client.ask(&Client::chat("", &n.to_string())).await.0, 200);
            order.lock().unwrap().push(n);
        }
    });
    join_all(calls).await;
    assert_eq!(order.into_inner().unwrap(), [0, 1, 2, 3, 4, 5]);
    assert_eq!(client.running.stats().in_flight, 0);
}

#[tokio::test]
async fn only_the_reload_set_reloads() {
    for (emulate, shift_reloads) in [(Emulate::V0_33, 1), (Emulate::V0_12, 0)] {
        let client = Client::start(Options { emulate, ..Options::default() });
        let mut body = Client::chat("", "hello");
        client.ask(&body).await;
        for (option, value, reloads) in [
            ("temperature", json!(0.5), 0),
            ("seed", json!(3), 0),
            ("banana", json!("x"), 0),
            ("num_predict", json!(3), 0),
            ("num_ctx", json!(2048), 1),
            ("num_batch", json!(1024), 1),
            ("num_gpu", json!(999), 1),
            ("use_mmap", json!(true), 1),
            ("num_thread", json!(2), 1),
            ("num_thread", json!(2), 0),
        ] {
            let before = client.running.stats().loads;
            body["options"][option] = value;
            assert_eq!(client.ask(&body).await.0, 200);
            assert_eq!(client.running.stats().loads - before, reloads, "{option}");
        }
        let before = client.running.stats().loads;
        body["shift"] = json!(true);
        client.ask(&body).await;
        assert_eq!(client.running.stats().loads - before, shift_reloads, "shift on {emulate:?}");
    }
}

#[tokio::test]
async fn a_reload_waits_for_the_slots_to_drain() {
    let client = Client::start(Options { load_ms: 30, ..Options::default() });
    client.running.faults().add(Rule::always(Fault::Slow { millis: 100 }).containing("first"));
    let mut other = Client::chat("", "second");
    other["options"]["num_ctx"] = json!(1024);
    let first = Client::chat("", "first");
    let after = async {
        client.until("the first on its slot", |stats| stats.prompt_tokens == 1).await;
        let (status, answer) = client.ask(&other).await;
        assert_eq!(client.running.stats().answers, 2, "the reload did not wait");
        assert!(answer["load_duration"].as_u64().unwrap() >= 30_000_000, "{answer}");
        status
    };
    let ((first, _), second) = join(client.ask(&first), after).await;
    assert_eq!((first, second), (200, 200));
}

#[tokio::test]
async fn loads_and_unloads_on_request() {
    let client = Client::start(Options::default());
    let load = json!({"model": "simulated", "prompt": "", "stream": false, "options": {"num_ctx": 8192}, "keep_alive": -1});
    let (_, answer) = client.post("/api/generate", &load).await.unwrap();
    assert_eq!(answer["done_reason"], "load");
    let ps = client.get("/api/ps").await;
    assert_eq!(ps["models"][0]["context_length"], 8_192);
    assert_eq!(ps["models"][0]["size_vram"], 8_205_474_201_u64 + 4 * 8_192 * 131_072);
    let unload = json!({"model": "simulated", "messages": [], "keep_alive": 0, "stream": false});
    assert_eq!(client.ask(&unload).await.1["done_reason"], "unload");
    assert_eq!(client.get("/api/ps").await["models"], json!([]));
    assert_eq!(client.running.stats().requests, 0);
}

#[tokio::test]
async fn too_many_for_a_load_are_refused() {
    let client = Client::start(Options { load_ms: 500, max_queue: 2, ..Options::default() });
    let body = Client::chat("", "hello");
    let answers = join_all((0..12).map(|_| client.ask(&body))).await;
    let refused = answers.iter().filter(|(status, _)| *status == 503).count();
    // One loads, two wait.
    assert_eq!(refused, 9, "{answers:?}");
}

#[tokio::test]
async fn the_context_ends_an_answer() {
    let client = Client::start(Options::default());
    let mut body = Client::chat("", &text_of("word", 250));
    body["options"] = json!({"num_ctx": 256, "num_predict": 50});
    let (_, answer) = client.ask(&body).await;
    assert_eq!((&answer["eval_count"], &answer["done_reason"]), (&json!(6), &json!("length")));
    body["options"] = json!({"num_ctx": 2048, "num_predict": 0});
    let (_, endless) = client.ask(&body).await;
    assert_eq!((&endless["eval_count"], &endless["done_reason"]), (&json!(1_798), &json!("length")));
    body["options"] = json!({"num_ctx": 250});
    let (status, refused) = client.ask(&body).await;
    assert_eq!(status, 400);
    assert!(
        refused["error"].as_str().unwrap().contains("\"n_prompt_tokens\":250,\"n_ctx\":250"),
        "{refused}"
    );
}

#[tokio::test]
async fn structured_answers_follow_their_schema() {
    let client = Client::start(Options::default());
    let mut body = Client::chat("", "which one?");
    body["options"] = json!({"num_predict": 64});
    body["format"] = json!({"type": "object", "required": ["label"],
        "properties": {"label": {"enum": ["a", "b"]}, "why": {"type": "string"}}});
    let (_, answer) = client.ask(&body).await;
    let content: Value = serde_json::from_str(answer["message"]["content"].as_str().unwrap()).unwrap();
    assert!(["a", "b"].contains(&content["label"].as_str().unwrap()));
    assert_eq!(content["why"], json!(answer_for("which one?")));
}

#[tokio::test]
async fn embeds_with_an_embedding_model() {
    let client = Client::start(Options { embedding_models: vec!["embedder".into()], ..Options::default() });
    let body = json!({"model": "embedder", "input": ["one two", "three"], "dimensions": 4});
    let (status, answer) = client.post("/api/embed", &body).await.unwrap();
    assert_eq!((status, &answer["prompt_eval_count"]), (200, &json!(3)));
    let vectors = answer["embeddings"].as_array().unwrap();
    assert_eq!((vectors.len(), vectors[0].as_array().unwrap().len()), (2, 4));
    assert_ne!(vectors[0], vectors[1]);
    let (status, answer) = client.post("/v1/embeddings", &body).await.unwrap();
    assert_eq!((status, &answer["data"][1]["embedding"]), (200, &vectors[1]));
}

#[tokio::test]
async fn speeds_take_their_time() {
    let client = Client::start(Options { prefill: 10_000.0, decode: 100.0, ..Options::default() });
    let (_, answer) = client.ask(&Client::chat(&text_of("rule", 999), "hello")).await;
    assert!(answer["prompt_eval_duration"].as_u64().unwrap() >= 100_000_000, "{answer}");
    assert!(answer["eval_duration"].as_u64().unwrap() >= 80_000_000, "{answer}");
    assert!(answer["total_duration"].as_u64().unwrap() >= 180_000_000, "{answer}");
}

#[tokio::test]
async fn an_embedding_of_nothing_loads_the_model() {
    let client = Client::start(Options { embedding_models: vec!["embedder".into()], ..Options::default() });
    let body = json!({"model": "embedder", "input": [], "keep_alive": -1, "options": {"num_ctx": 2_048}});
    let (status, answer) = client.post("/api/embed", &body).await.unwrap();
    assert_eq!((status, &answer["embeddings"]), (200, &json!([])));
    let loaded = client.get("/api/ps").await;
    assert_eq!(loaded["models"][0]["name"], "embedder:latest", "{loaded}");
    assert_eq!((client.running.stats().loads, client.running.stats().requests), (1, 0));
}

#[tokio::test]
async fn the_runner_tells_of_its_slots_on_a_port_of_its_own() {
    let options = Options { slots: 2, runner_listen: "127.0.0.1:0".parse().ok(), ..Options::default() };
    let client = Client::start(options);
    let runner = client.running.runner_url().unwrap();
    let get = async |path: &str| {
        let answer = reqwest::get(format!("{runner}{path}")).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(get("/slots").await.0, 503);
    client.running.faults().add(Rule::always(Fault::Hang).containing("stuck"));
    let system = text_of("rule", 50);
    client.ask(&Client::chat(&system, "one")).await;
    client.ask(&Client::chat(&system, "two")).await;
    let look = async {
        client.until("the third is on a slot", |stats| stats.prompt_tokens == 103).await;
        let slots: Value = serde_json::from_str(&get("/slots").await.1).unwrap();
        let busy = slots.as_array().unwrap().iter().filter(|slot| slot["is_processing"] == true).count();
        assert_eq!((busy, &slots[0]["n_ctx"]), (1, &json!(4_096)));
        let (_, metrics) = get("/metrics").await;
        for line in ["prompt_tokens_total 53", "prompt_tokens_cached_total 50", "requests_processing 1"] {
            assert!(metrics.lines().any(|said| said == format!("llamacpp:{line}")), "{line} in {metrics}");
        }
        client.running.crash();
    };
    let stuck = Client::chat("", "stuck");
    let ((status, _), ()) = join(client.ask(&stuck), look).await;
    assert_eq!((status, get("/slots").await.0), (500, 503));
}
