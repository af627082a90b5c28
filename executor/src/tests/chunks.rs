//! How a lane runs its chunks.

use super::{planner::said, *};

#[tokio::test]
async fn requests_run_in_order_one_in_flight_a_lane_and_those_done_are_skipped() {
    let (rig, mut peer) = Rig::new(1).await;
    peer.wait_credits(1).await;
    let mut lease = lease("a", &["zero", "one", "two", "three", "four", "five"]);
    (lease.range_start, lease.range_end, lease.done) = (1, 5, vec![0b0000_0100]);
    peer.lease(lease).await;
    peer.wait_results(3).await;
    assert_eq!(rig.engine.asked(), ["one", "three", "four"]);
    assert_eq!(rig.engine.most_in_flight(), 1);
    let said: Vec<_> = peer.results.iter().map(|r| (r.index, r.line, said(r))).collect();
    assert_eq!(said, [(1, 2, "ONE".into()), (3, 4, "THREE".into()), (4, 5, "FOUR".into())]);
    assert_eq!(peer.results[0].custom_id, "a-one");
    assert_eq!(peer.results[0].usage.unwrap().prompt_tokens, 20);
    assert_eq!(rig.engine.loads(), [("m".to_owned(), 1_000)]);
}

#[tokio::test]
async fn as_many_requests_are_in_flight_as_there_are_lanes() {
    let (rig, mut peer) = Rig::with(3, Scripted::held(), |_| {}).await;
    peer.wait_credits(3).await;
    let lanes: Vec<_> = peer.credits.iter().map(|credit| credit.lane).collect();
    for lane in lanes {
        peer.lease(Lease { lane, ..lease(&format!("l{lane}"), &["x", "y"]) }).await;
    }
    until("three are in flight", || rig.engine.in_flight() == 3).await;
    rig.engine.permits.add_permits(6);
    peer.wait_results(6).await;
    assert_eq!(rig.engine.most_in_flight(), 3);
}

#[tokio::test]
async fn the_next_chunk_is_fetched_before_the_last_request_ends() {
    let (rig, mut peer) = Rig::with(1, Scripted::held(), |_| {}).await;
    peer.wait_credits(1).await;
    assert_eq!(peer.credits[0].warm_batch, "");
    peer.lease(lease("a", &["one", "two"])).await;
    until("the first request runs", || rig.engine.in_flight() == 1).await;
    peer.fresh_heartbeat().await;
    assert_eq!(peer.credits.len(), 1, "no credit while the chunk has requests left");

    rig.engine.permits.add_permits(1);
    peer.wait_credits(2).await;
    assert_eq!(rig.engine.asked(), ["one", "two"], "asked for when the last one starts");
    let warm = &peer.credits[1];
    assert_eq!((warm.warm_batch.as_str(), warm.warm_group, warm.warm_share), ("batches/b", 3, 5));

    peer.lease(lease("b", &["three"])).await;
    let beat = peer.fresh_heartbeat().await;
    let fetched = beat.leases.iter().find(|lease| lease.lease_id == "b").unwrap();
    assert!(!fetched.started);
    assert_eq!(peer.credits.len(), 2, "one fetched chunk is enough");
    rig.engine.permits.add_permits(2);
    peer.wait_results(3).await;
    assert_eq!(rig.engine.asked(), ["one", "two", "three"]);
}

#[tokio::test]
async fn auto_slots_are_what_the_engine_says() {
    let engine = Scripted::default();
    engine.set_description(Ok(crate::engine::Description { slots: Some(4), ..engine.description() }));
    let (_rig, mut peer) = Rig::with(0, engine, |_| {}).await;
    peer.wait_credits(4).await;
    assert_eq!(peer.fresh_heartbeat().await.engines[0].slots, 4);
}

#[tokio::test]
async fn heartbeats_tell_what_runs_and_why_gpus_are_missing() {
    let (rig, mut peer) = Rig::with(1, Scripted::held(), |_| {}).await;
    assert_eq!(peer.hello.as_ref().unwrap().host, "test-host");
    peer.wait_credits(1).await;
    peer.lease(lease("a", &["one", "two"])).await;
    rig.engine.permits.add_permits(1);
    peer.wait_results(1).await;
    until("the second runs", || rig.engine.asked().len() == 2).await;
    let beat = peer.fresh_heartbeat().await;
    let engine = &beat.engines[0];
    assert_eq!((engine.id.as_str(), engine.models.len()), ("ollama-0", 2));
    let lane = &engine.lanes[0];
    assert_eq!((lane.done, lane.total, lane.batch.as_str()), (1, 2, "batches/b"));
    assert!(engine.tokens_per_second > 0.0);
    peer.wait("the reason", |peer| {
        peer.heartbeats.last().is_some_and(|beat| beat.gpu_unavailable == "libnvidia-ml.so.1 not found")
    })
    .await;
    assert!(beat.leases[0].started && beat.gpus.is_empty());
}
