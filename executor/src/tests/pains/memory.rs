//! Memory of the host that engines take, and caches that they do not use.

use super::{
    host::{answered, run},
    *,
};

fn gemma() -> Sim {
    Sim { family: "gemma3".into(), sliding_window: 1_024, slots: 1, ..Sim::default() }
}

const MIB: u64 = 1 << 20;

/// Questions to a process that keeps `own` to itself.
async fn ask(process: &Process, questions: usize) {
    for n in 0..questions {
        let messages = json!([{"role": "user", "content": text_of(&format!("own{n}"), 100)}]);
        assert_eq!(process.client().chat(messages, json!({})).await.0, 200);
    }
}

#[tokio::test]
async fn pain_12_a_managed_engine_that_loses_memory_is_started_anew_and_no_request_fails() {
    let loses = "--leak-kib 16384 --answer-ms 40";
    let naive = Process::spawn(loses).await;
    ask(&naive, 1).await;
    let before = naive.resident();
    ask(&naive, 10).await;
    assert!(naive.resident() > before + 9 * 16 * MIB, "it takes more and more, and nobody looks");

    let home = Home::new();
    let managed = home.managed(
        loses,
        json!({
            "memory_growth_bytes": 100 * MIB, "memory_settle_seconds": 0, "look_seconds": 1,
        }),
    );
    let (_host, mut peer) = Host::managing(1, managed, |_| {}).await;
    peer.wait_credits(1).await;
    let first = home.process().await;
    run(&mut peer, &[Chunk::many("own", 60)]).await;
    assert_eq!(answered(&peer), 60);
    assert_ne!(home.process().await.pid, first.pid, "another life of it");
    peer.wait("says why", |peer| {
        let notes = peer.heartbeats.last().map(|beat| beat.engines[0].notes.join("; "));
        notes.is_some_and(|notes| notes.contains("more host memory than after its load"))
    })
    .await;
}

#[tokio::test]
async fn pain_13_a_managed_engine_copies_no_prompts_to_host_memory() {
    let copies = "--cache-prompts";
    let naive = Process::spawn(copies).await;
    ask(&naive, 1).await;
    let before = naive.resident();
    ask(&naive, 10).await;
    let grown = naive.resident() - before;
    assert!(grown > 9 * 100 * 128 * 1_024, "{grown}: 12 MiB a prompt, up to 8 GiB");

    let home = Home::new();
    let (_host, mut peer) = Host::managing(1, home.managed(copies, json!({})), |_| {}).await;
    run(&mut peer, &[Chunk::many("first", 1)]).await;
    let before = home.process().await.resident();
    let questions: Vec<String> = (0..10).map(|n| text_of(&format!("own{n}"), 100)).collect();
    peer.wait_credits(2).await;
    peer.lease(Chunk::chats("Be brief.", &questions).lease("b")).await;
    peer.wait_results(11).await;
    let grown = home.process().await.resident().saturating_sub(before);
    assert!(answered(&peer) == 11 && grown < 12 * MIB, "{grown}: less than one of them");
}

#[tokio::test]
async fn pain_14_a_window_forgets_the_prefix_and_a_batch_of_its_size_keeps_it() {
    let (prefix, own) = (text_of("rule", 1_500), |n: usize| text_of(&format!("own{n}"), 640));
    let naive = Naive::new(&gemma());
    for n in 0..3 {
        let messages = json!([{"role": "system", "content": prefix}, {"role": "user", "content": own(n)}]);
        naive.chat(messages, json!({"num_ctx": 4_096})).await;
    }
    assert_eq!(naive.engine.stats().cached_tokens, 0, "every prompt is evaluated from its start");

    let (host, mut peer) = Host::new(gemma()).await;
    let questions: Vec<String> = (0..3).map(own).collect();
    run(&mut peer, &[Chunk { batch_tokens: 1_024, ..Chunk::chats(&prefix, &questions) }]).await;
    assert_eq!((answered(&peer), host.engine().stats().cached_tokens), (3, 2 * 1_500));
}

#[tokio::test]
async fn pain_14_the_whole_cache_of_a_managed_engine_keeps_short_prefixes_too() {
    let (prefix, own) = (text_of("rule", 600), |n: usize| text_of(&format!("own{n}"), 50));
    let window = "--family gemma3 --sliding-window 1024";
    let naive = Process::spawn(window).await;
    for n in 0..3 {
        let messages = json!([{"role": "system", "content": prefix}, {"role": "user", "content": own(n)}]);
        naive.client().chat(messages, json!({"num_batch": 2_048})).await;
    }
    assert_eq!(naive.client().get("/sim/stats").await["cached_tokens"], 0, "shorter than the window");

    let home = Home::new();
    let (_host, mut peer) = Host::managing(1, home.managed(window, json!({"swa_full": true})), |_| {}).await;
    let questions: Vec<String> = (0..3).map(own).collect();
    run(&mut peer, &[Chunk::chats(&prefix, &questions)]).await;
    let cached = home.process().await.client().get("/sim/stats").await["cached_tokens"].as_u64().unwrap();
    assert!(answered(&peer) == 3 && cached >= 2 * 600, "{cached}");
}
