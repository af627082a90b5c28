//! Too many requests at once: queues without end, refusals, slots that are not there.

use super::{
    host::{answered, attentive, notes, run},
    *,
};
use crate::Slots;

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

/// Two slots that streams take with them; the answer to a chat of a batch takes 20 ms.
fn leaking() -> Sim {
    Sim { slots: 2, decode: 400.0, leak_streams: true, ..Sim::default() }
}

/// What is streamed takes seconds, so that a client can leave in its middle.
fn long_stories() -> Rule {
    Rule::always(Fault::Endless).containing("a long story")
}

#[tokio::test]
async fn pain_10_nothing_is_streamed_so_no_slot_is_lost() {
    let naive = Naive::new(&leaking());
    naive.engine.faults().add(long_stories());
    naive.leave_a_stream(&[]).await;
    naive.leave_a_stream(&[]).await;
    until("both slots are lost", || naive.engine.stats().lost_slots == 2).await;
    assert!(naive.hangs_while_green().await);

    let (host, mut peer) = Host::new(leaking()).await;
    host.engine().faults().add(Rule::always(Fault::Hang).containing("hang"));
    run(&mut peer, &[Chunk::many("own", 3)]).await;
    peer.wait_credits(3).await;
    peer.lease(Chunk::many("hang", 1).lease("stuck")).await;
    until("it is on a slot", || host.engine().stats().in_flight == 1).await;
    // An executor that ends in the middle of a request takes no slot with it.
    let engine = host.end();
    until("it has left", || engine.stats().in_flight == 0).await;
    assert_eq!((engine.stats().streams, engine.stats().lost_slots), (0, 0));
}

#[tokio::test]
async fn pain_10_slots_that_others_lost_are_noticed_and_brought_back() {
    let (host, mut peer) = Host::with(vec![leaking()], attentive).await;
    host.engine().faults().add(long_stories());
    peer.wait_credits(2).await;
    for lane in [0, 1] {
        peer.lease(Chunk::many("own", 80).lane(lane).lease(&format!("lane{lane}"))).await;
    }
    peer.wait_results(40).await;
    // With the options of the batch: others would have the model loaded anew at once.
    let same = [("shift", json!(false)), ("keep_alive", json!(-1)), ("options", json!({"num_ctx": 4_096}))];
    Client::of(host.engine()).leave_a_stream(&same).await;
    until("a slot is lost", || host.engine().stats().lost_slots == 1).await;
    peer.wait_results(160).await;
    assert_eq!((answered(&peer), host.engine().stats().loads), (160, 2), "loaded anew, once");
    assert!(notes(&mut peer).await.contains("it lost slots"));
}

#[tokio::test]
async fn pain_16_slots_that_are_not_there_are_found_out() {
    for (family, slots) in [("qwen35", 1), ("llama", 4)] {
        let sim = Sim { family: family.into(), answer_ms: 60, ..Sim::default() };
        let naive = Naive::new(&sim);
        naive.ask("load it").await;
        let started = std::time::Instant::now();
        assert_eq!(naive.rush(4).await, [200; 4], "{family}: no word of how many run at once");
        let at_once = started.elapsed().as_millis() < 4 * 60;
        assert_eq!(at_once, slots == 4, "{family}: {:?}", started.elapsed());

        let (_host, mut peer) = Host::with(vec![sim], |options| options.engines[0].slots = Slots::Auto).await;
        run(&mut peer, &[Chunk::many("own", 2)]).await;
        let found = peer.fresh_heartbeat().await.engines[0].slots;
        assert_eq!((answered(&peer), found), (2, slots), "{family}");
    }
}

#[tokio::test]
async fn pain_16_slots_that_were_promised_and_are_not_there_are_noticed() {
    let sim = Sim { family: "qwen35".into(), answer_ms: 15, ..Sim::default() };
    let (_host, mut peer) = Host::with(vec![sim], attentive).await;
    peer.wait_credits(4).await;
    for lane in 0..4 {
        peer.lease(Chunk::many("own", 10).lane(lane).lease(&format!("lane{lane}"))).await;
    }
    peer.wait("one lane is left", |peer| {
        peer.heartbeats.last().is_some_and(|beat| beat.engines[0].slots == 1)
    })
    .await;
    let notes = notes(&mut peer).await;
    assert!(notes.contains("it runs 1 and not 4 requests at once"), "{notes}");
}
