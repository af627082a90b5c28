//! Leases that end before their chunk does.

use caravan_proto::v1::{HeartbeatReply, Revoke, connect_response::Message};

use super::{planner::said, *};

async fn running_and_fetched() -> (Rig, Peer) {
    let (rig, mut peer) = Rig::with(1, Scripted::held(), |_| {}).await;
    peer.wait_credits(1).await;
    peer.lease(lease("running", &["one"])).await;
    peer.wait_credits(2).await;
    peer.lease(lease("fetched", &["two"])).await;
    until("one is in flight", || rig.engine.in_flight() == 1).await;
    (rig, peer)
}

#[tokio::test]
async fn a_revoked_lease_is_dropped_with_its_request_in_flight() {
    let (rig, mut peer) = running_and_fetched().await;
    peer.revoke("running", false).await;
    until("the next chunk runs", || rig.engine.asked() == ["one", "two"]).await;
    assert_eq!(rig.engine.in_flight(), 1);
    assert!(!peer.held().await.contains("running"));
    rig.engine.permits.add_permits(1);
    peer.wait_results(1).await;
    assert_eq!(said(&peer.results[0]), "TWO");
}

#[tokio::test]
async fn unless_started_spares_what_runs_and_drops_what_waits() {
    let (rig, mut peer) = running_and_fetched().await;
    peer.revoke("fetched", true).await;
    peer.revoke("running", true).await;
    peer.wait("fetched is gone", |p| p.heartbeats.last().is_some_and(|b| b.leases.len() == 1)).await;
    assert_eq!(peer.held().await, ["running".to_owned()].into());
    rig.engine.permits.add_permits(2);
    peer.wait_results(1).await;
    peer.wait_credits(3).await;
    assert_eq!(rig.engine.asked(), ["one"]);
}

#[tokio::test]
async fn after_request_ends_what_runs_and_gives_the_rest_back() {
    let (rig, mut peer) = Rig::with(1, Scripted::held(), |o| o.limits.prefetch_millis = 3_600_000).await;
    peer.wait_credits(1).await;
    peer.lease(lease("running", &["one", "two", "three"])).await;
    rig.engine.permits.add_permits(1);
    peer.wait_credits(2).await;
    peer.lease(lease("fetched", &["four"])).await;
    peer.wait("both held", |p| p.heartbeats.last().is_some_and(|b| b.leases.len() == 2)).await;
    until("the second is in flight", || rig.engine.asked().len() == 2 && rig.engine.in_flight() == 1).await;
    for lease in ["fetched", "running"] {
        let revoke = Revoke { lease_id: lease.into(), after_request: true, ..Revoke::default() };
        peer.revoke_as(revoke).await;
    }
    peer.wait("what was not begun is back", |p| p.handed_back() == [("fetched", "test")]).await;
    assert_eq!(rig.engine.in_flight(), 1, "what runs goes on");
    rig.engine.permits.add_permits(3);
    peer.wait("the rest is back", |p| p.handed_back().len() == 2).await;
    assert_eq!(peer.handed_back()[1], ("running", "test"));
    peer.wait_results(2).await;
    assert_eq!(said(&peer.results[1]), "TWO");
    assert_eq!(rig.engine.asked(), ["one", "two"]);
}

#[tokio::test]
async fn a_lost_lease_stops_and_its_finished_results_still_count() {
    let (mut rig, mut peer) = Rig::with(1, Scripted::held(), |_| {}).await;
    peer.wait_credits(1).await;
    peer.lease(lease("a", &["one", "two", "three"])).await;
    rig.engine.permits.add_permits(1);
    peer.wait_results(1).await;
    until("the second is in flight", || rig.engine.asked().len() == 2).await;
    peer.send(Message::HeartbeatReply(HeartbeatReply { lost: vec!["a".into()] })).await;
    until("it is cancelled", || rig.engine.in_flight() == 0).await;
    drop(peer);
    let mut peer = rig.planner.welcome().await;
    peer.wait_results(1).await;
    assert_eq!(said(&peer.results[0]), "ONE");
    assert!(peer.held().await.is_empty());
    assert_eq!(rig.engine.asked().len(), 2);
}

#[tokio::test]
async fn a_lease_without_a_lane_or_sense_is_given_back() {
    let (_rig, mut peer) = Rig::new(1).await;
    peer.wait_credits(1).await;
    peer.lease(Lease { lane: 7, ..lease("nowhere", &["x"]) }).await;
    peer.lease(Lease { range_end: 9, ..lease("range", &["x"]) }).await;
    peer.wait("both back", |p| p.handed_back().len() == 2).await;
    assert_eq!(peer.handed_back(), [("nowhere", "unknown_lane"), ("range", "range_outside_payload")]);
}

#[tokio::test]
async fn draining_ends_what_runs_and_gives_the_rest_back() {
    let (mut rig, mut peer) = Rig::with(1, Scripted::held(), |o| o.limits.prefetch_millis = 3_600_000).await;
    peer.wait_credits(1).await;
    peer.lease(lease("running", &["one", "two", "three"])).await;
    rig.engine.permits.add_permits(1);
    peer.wait_credits(2).await;
    peer.lease(lease("fetched", &["four"])).await;
    peer.wait("both held", |p| p.heartbeats.last().is_some_and(|b| b.leases.len() == 2)).await;
    until("the second is in flight", || rig.engine.asked().len() == 2 && rig.engine.in_flight() == 1).await;

    rig.shutdown.trigger();
    peer.wait("draining", |p| p.draining && p.handed_back() == [("fetched", "drain")]).await;
    assert_eq!(rig.engine.in_flight(), 1, "what runs goes on");
    rig.engine.permits.add_permits(1);
    peer.wait("the rest back", |p| p.handed_back().len() == 2).await;
    assert_eq!(peer.handed_back()[1], ("running", "drain"));
    peer.wait_results(2).await;
    assert_eq!(rig.engine.asked(), ["one", "two"]);
    assert_eq!(peer.credits.len(), 2, "no credit while draining");

    for result in peer.results.clone() {
        peer.ack(&result).await;
    }
    peer.wait("the end", |p| p.ended).await;
    drop(peer);
    rig.ended().await;
}

#[tokio::test]
async fn the_drain_limit_cuts_off_what_runs() {
    let (mut rig, mut peer) = Rig::with(1, Scripted::held(), |_| {}).await;
    // A limit of no time at all: the second trigger of a signal does the same.
    rig.running.abort_all();
    let (planner, engine) = (&mut rig.planner, Arc::clone(&rig.engine));
    drop(peer);
    let options = Options {
        planner: vec![planner.url.clone()],
        engines: vec![entry("http://127.0.0.1:1", "1".parse().unwrap())],
        ..Options::default()
    };
    let service = Service::new(
        &options,
        vec![Arc::clone(&engine) as Arc<dyn Engine>],
        Box::new(NoGpu),
        Default::default(),
    );
    let service = service.unwrap();
    let shutdown = Shutdown::new(Duration::ZERO);
    let mut running = JoinSet::new();
    running.spawn(service.run(shutdown.clone()));
    peer = planner.welcome().await;
    peer.wait_credits(1).await;
    peer.lease(lease("a", &["one"])).await;
    until("it is in flight", || engine.in_flight() == 1).await;
    shutdown.trigger();
    peer.wait("it back", |p| p.handed_back() == [("a", "drain")]).await;
    assert_eq!(engine.in_flight(), 0);
    peer.wait("the end", |p| p.ended).await;
    drop(peer);
    let ended = timeout(PATIENCE, running.join_next()).await.unwrap();
    ended.unwrap().unwrap().unwrap();
}
