//! What an engine is loaded with: options that reload it, contexts that nobody asked for, layers that
//! end up on the CPU, models that push each other out.

use super::{
    host::{answered, run},
    *,
};

/// Bytes of a GPU with 80 GiB.
const H100: u64 = 80 << 30;

#[tokio::test]
async fn pain_05_contexts_that_differ_reload_for_every_request_and_chunks_share_one() {
    let naive = Naive::new(&Sim::default());
    for turn in 0..3 {
        for context in [1_024, 2_048] {
            naive
                .chat(json!([{"role": "user", "content": turn.to_string()}]), json!({"num_ctx": context}))
                .await;
        }
    }
    assert_eq!(naive.engine.stats().loads, 6, "a load for every request");

    let (host, mut peer) = Host::new(Sim::default()).await;
    let chunk = |lane, context| Chunk { context, ..Chunk::many("own", 3).lane(lane) };
    run(&mut peer, &[chunk(0, 1_024), chunk(1, 2_048), chunk(2, 1_024)]).await;
    assert_eq!(answered(&peer), 9);
    let loads = host.engine().stats().loads;
    assert!(loads <= 2, "{loads} loads: the smaller context, then the larger, which serves all");
}

#[tokio::test]
async fn pain_06_embeddings_between_chats_evict_the_model_and_take_turns_by_the_chunk() {
    let sim = Sim { embedding_models: vec!["embedder".into()], ..Sim::default() };
    let naive = Naive::new(&sim);
    let embed = json!({"model": "embedder", "input": "a text"});
    for _ in 0..3 {
        naive.ask("a question").await;
        naive.post("/api/embed", &embed).await;
    }
    assert_eq!(naive.engine.stats().loads, 6);
    naive.ask("a question").await;
    let (status, _) = naive.post("/api/embed", &json!({"model": "simulated", "input": "a text"})).await;
    assert_eq!((status, naive.loaded().await), (501, Value::Null), "refused, and unloaded for it");

    let (host, mut peer) = Host::new(sim).await;
    let embeddings = Chunk {
        model: "embedder",
        endpoint: "/v1/embeddings",
        lane: 1,
        context: 1_024,
        shared: json!({}),
        bodies: (0..3).map(|n| json!({"input": format!("text {n}")})).collect(),
        ..Chunk::default()
    };
    run(&mut peer, &[Chunk::many("own", 3), embeddings]).await;
    assert_eq!((answered(&peer), host.engine().stats().loads), (6, 2));
}

#[tokio::test]
async fn pain_07_the_default_context_of_a_large_gpu_fills_it_and_is_never_used() {
    let sim = Sim { context: 0, vram: Some(H100), max_context: 262_144, ..Sim::default() };
    let naive = Naive::new(&sim);
    naive.ask("hello").await;
    let loaded = naive.loaded().await;
    assert_eq!(loaded["context_length"], 262_144, "for each of 4 slots");
    assert!(loaded["size_vram"].as_u64() < loaded["size"].as_u64(), "so that layers are on the CPU");

    let (host, mut peer) = Host::new(sim).await;
    run(&mut peer, &[Chunk::many("own", 2)]).await;
    let loaded = Client::of(host.engine()).loaded().await;
    assert_eq!((answered(&peer), &loaded["context_length"]), (2, &json!(4_096)));
    assert_eq!(loaded["size_vram"], loaded["size"]);
}

#[tokio::test]
async fn pain_08_layers_on_the_cpu_are_refused_with_their_sizes() {
    // 8 GiB of weights, and 1 GiB of cache for each of the slots.
    let sim = |slots| Sim { slots, vram: Some(16 << 30), ..Sim::default() };
    let naive = Naive::new(&sim(16));
    let asked = json!([{"role": "user", "content": "hello"}]);
    assert_eq!(naive.chat(asked, json!({"num_ctx": 8_192})).await.0, 200, "a success like any other");
    let loaded = naive.loaded().await;
    let (size, in_vram) = (loaded["size"].as_u64().unwrap(), loaded["size_vram"].as_u64().unwrap());
    assert!(0 < in_vram && in_vram < size, "many times slower: {loaded}");

    let chunk = || Chunk { context: 8_192, ..Chunk::many("own", 2) };
    let (host, mut peer) = Host::new(sim(16)).await;
    peer.wait_credits(1).await;
    peer.lease(chunk().lease("a")).await;
    peer.wait("it goes back", |peer| peer.handed_back() == [("a", "model_unusable")]).await;
    let message = peer.fresh_heartbeat().await.engines[0].message.clone();
    assert!(message.contains("are in VRAM") && message.contains("OLLAMA_NUM_PARALLEL"), "{message}");
    assert_eq!(host.engine().stats().requests, 0, "nothing ran on the CPU");
    assert_eq!(Client::of(host.engine()).loaded().await, Value::Null, "and nothing is left there");

    let (_host, mut peer) = Host::new(sim(4)).await;
    run(&mut peer, &[chunk()]).await;
    assert_eq!(answered(&peer), 2, "with fewer slots it fits");
    let (_host, mut peer) =
        Host::with(vec![sim(16)], |options| options.engines[0].partial_offload = true).await;
    run(&mut peer, &[chunk()]).await;
    assert_eq!(answered(&peer), 2, "and where that is wanted it serves");
}

#[tokio::test]
async fn pain_09_one_engine_runs_one_instance_and_an_executor_drives_one_for_each_gpu() {
    let sim = Sim { slots: 2, answer_ms: 30, ..Sim::default() };
    let naive = Naive::new(&sim);
    naive.ask("load it").await;
    let started = std::time::Instant::now();
    naive.rush(8).await;
    assert!(started.elapsed().as_millis() >= 4 * 30, "two at a time, whatever GPUs there are");

    let (host, mut peer) = Host::with(vec![sim.clone(), sim], |_| {}).await;
    for engine in &host.engines {
        engine.faults().add(Rule::always(Fault::Hang).containing("hold"));
    }
    let held = |engine, lane| Chunk { engine, ..Chunk::many("hold", 1).lane(lane) };
    peer.wait_credits(4).await;
    for (id, chunk) in [
        ("a", held("ollama-0", 0)),
        ("b", held("ollama-0", 1)),
        ("c", held("ollama-1", 0)),
        ("d", held("ollama-1", 1)),
    ] {
        peer.lease(chunk.lease(id)).await;
    }
    let on_slots = || host.engines.iter().map(|engine| engine.stats().in_flight).collect::<Vec<_>>();
    until("all slots of both engines are at work at once", || on_slots() == [2, 2]).await;
}

#[tokio::test]
async fn pain_18_two_models_in_turn_load_for_every_request_and_wait_for_each_other_by_the_chunk() {
    let sim = Sim { models: vec!["simulated".into(), "other".into()], load_ms: 30, ..Sim::default() };
    let naive = Naive::new(&sim);
    for _ in 0..3 {
        for model in ["simulated", "other"] {
            let body =
                json!({"model": model, "stream": false, "messages": [{"role": "user", "content": "hi"}]});
            let (_, answer) = naive.post("/api/chat", &body).await;
            assert!(answer["load_duration"].as_u64().unwrap() >= 30_000_000, "each stalls for a load");
        }
    }
    assert_eq!(naive.engine.stats().loads, 6);

    let (host, mut peer) = Host::new(sim).await;
    let other = |lane| Chunk { model: "other", ..Chunk::many("own", 3).lane(lane) };
    run(&mut peer, &[Chunk::many("own", 3), other(1), Chunk::many("more", 3).lane(2)]).await;
    let loads = host.engine().stats().loads;
    assert_eq!(answered(&peer), 9);
    assert!(loads <= 3, "{loads} loads for three chunks");
}

#[tokio::test]
async fn pain_21_a_model_unloaded_between_requests_is_kept_and_brought_back_as_it_was() {
    let naive = Naive::new(&Sim::default());
    let body = json!({"model": "simulated", "stream": false, "keep_alive": 0,
        "messages": [{"role": "user", "content": "hi"}]});
    for _ in 0..3 {
        naive.post("/api/chat", &body).await;
    }
    assert_eq!(naive.engine.stats().loads, 3, "each of them unloads it for the next");

    let (host, mut peer) = Host::new(Sim::default()).await;
    run(&mut peer, &[Chunk::many("own", 2)]).await;
    let loaded = Client::of(host.engine()).loaded().await;
    assert!(loaded["expires_at"].as_str().unwrap() > "2300", "for ever: {loaded}");
    // Somebody else's keep_alive wins; the next request brings the same set back, and keeps it.
    let stranger = Client::of(host.engine());
    stranger.post("/api/chat", &body).await;
    assert_eq!(Client::of(host.engine()).loaded().await, Value::Null);
    peer.wait_credits(5).await;
    peer.lease(Chunk::many("later", 2).lease("later")).await;
    peer.wait_results(4).await;
    let loaded = Client::of(host.engine()).loaded().await;
    assert_eq!((answered(&peer), &loaded["context_length"]), (4, &json!(4_096)));
    assert!(loaded["expires_at"].as_str().unwrap() > "2300", "for ever again: {loaded}");
}
