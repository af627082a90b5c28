//! Too many requests at once: queues without end, refusals, slots that are not there.

use super::{
    host::{answered, run},
    *,
};

#[tokio::test]
async fn pain_01_a_loaded_model_queues_without_bound_and_lanes_never_fill_it() {
    let sim = Sim { max_queue: 2, answer_ms: 20, ..Sim::default() };
    let naive = Naive::new(&sim);
    naive.ask("load it").await;
    assert_eq!(naive.rush(12).await, [200; 12], "no 503 tells anybody to wait");
    assert_eq!(naive.engine.stats().max_in_flight, 12, "4 on slots, 8 in a queue that has no bound");

    let (host, mut peer) = Host::new(sim).await;
    run(&mut peer, &[0, 1, 2, 3].map(|lane| Chunk::many("own", 5).lane(lane))).await;
    assert_eq!((answered(&peer), host.engine().stats().max_in_flight), (20, 4));
}

#[tokio::test]
async fn pain_20_a_cold_model_refuses_a_rush_and_is_loaded_before_the_first_request() {
    let sim = Sim { max_queue: 2, load_ms: 300, ..Sim::default() };
    let naive = Naive::new(&sim);
    let statuses = naive.rush(12).await;
    assert_eq!(statuses.iter().filter(|status| **status == 503).count(), 9, "one loads it, two may wait");

    let (host, mut peer) = Host::new(sim).await;
    run(&mut peer, &[0, 1, 2, 3].map(|lane| Chunk::many("own", 5).lane(lane))).await;
    let stats = host.engine().stats();
    assert_eq!((answered(&peer), stats.answers, stats.loads), (20, 20, 1), "nobody was turned away");
}
