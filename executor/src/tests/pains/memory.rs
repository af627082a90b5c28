//! Memory of the host that engines take, and caches that they do not use.

use super::{
    host::{answered, run},
    *,
};

fn gemma() -> Sim {
    Sim { family: "gemma3".into(), sliding_window: 1_024, slots: 1, ..Sim::default() }
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
