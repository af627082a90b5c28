//! Breaking streams, acks, and the bound of what is unacked.

use caravan_proto::v1::{Drain, connect_response::Message};

use super::{planner::said, *};

#[tokio::test]
async fn a_broken_stream_loses_nothing_and_only_unacked_results_come_again() {
    let (mut rig, mut peer) = Rig::with(1, Scripted::held(), |_| {}).await;
    let name = peer.hello.clone().unwrap().executor;
    peer.wait_credits(1).await;
    peer.lease(lease("a", &["one", "two", "three", "four"])).await;
    rig.engine.permits.add_permits(2);
    peer.wait_results(2).await;
    peer.ack(&peer.results[0]).await;
    // Whatever follows the ack is handled after it.
    peer.revoke("none", false).await;
    peer.fresh_heartbeat().await;
    drop(peer);

    // It goes on while nobody listens.
    rig.engine.permits.add_permits(1);
    let mut peer = rig.planner.welcome().await;
    assert_eq!(peer.hello.clone().unwrap().executor, name);
    peer.wait_results(2).await;
    assert_eq!(peer.kinds[1], "heartbeat", "leases are named first: {:?}", peer.kinds);
    let first = peer.heartbeats[0].leases.clone();
    assert_eq!((first.len(), first[0].lease_id.as_str(), first[0].started), (1, "a", true));
    rig.engine.permits.add_permits(1);
    peer.wait_results(3).await;
    let again: Vec<_> = peer.results.iter().map(said).collect();
    assert_eq!(again, ["TWO", "THREE", "FOUR"]);
    assert_eq!(rig.engine.asked().len(), 4, "nothing ran twice");
}

#[tokio::test]
async fn idle_lanes_ask_again_on_a_new_stream() {
    let (mut rig, mut peer) = Rig::new(2).await;
    peer.wait_credits(2).await;
    drop(peer);
    let mut peer = rig.planner.welcome().await;
    peer.wait_credits(2).await;
    peer.fresh_heartbeat().await;
    assert_eq!(peer.credits.len(), 2, "one a lane");
}

#[tokio::test]
async fn a_lease_is_held_until_its_results_are_acked() {
    let (_rig, mut peer) = Rig::new(1).await;
    peer.wait_credits(1).await;
    peer.lease(lease("a", &["one"])).await;
    peer.wait_results(1).await;
    assert!(peer.held().await.contains("a"));
    peer.ack(&peer.results[0]).await;
    peer.wait("the lease forgotten", |peer| peer.heartbeats.last().is_some_and(|b| b.leases.is_empty()))
        .await;
    assert_eq!(peer.results.len(), 1);
    assert!(peer.hand_backs.is_empty());
}

#[tokio::test]
async fn lanes_wait_while_too_much_is_unacked() {
    let (rig, mut peer) = Rig::with(1, Scripted::default(), |o| o.limits.unacked_results = 2).await;
    peer.wait_credits(1).await;
    peer.lease(lease("a", &["one", "two", "three", "four"])).await;
    peer.wait_results(2).await;
    peer.fresh_heartbeat().await;
    assert_eq!(rig.engine.asked().len(), 2);
    peer.ack(&peer.results[0]).await;
    peer.wait_results(3).await;
    peer.fresh_heartbeat().await;
    assert_eq!(rig.engine.asked().len(), 3);
}

#[tokio::test]
async fn late_acks_hold_lanes_at_two_results_each() {
    let (rig, mut peer) = Rig::with(1, Scripted::default(), |o| o.limits.ack_millis = 0).await;
    peer.wait_credits(1).await;
    peer.lease(lease("a", &["one", "two", "three", "four"])).await;
    peer.wait_results(2).await;
    peer.fresh_heartbeat().await;
    assert_eq!(rig.engine.asked().len(), 2);
    // Cut off from planners, what is held goes on.
    drop(peer);
    until("the rest has run", || rig.engine.asked().len() == 4).await;
}

#[tokio::test]
async fn a_planner_that_goes_away_is_left_for_another() {
    let (mut rig, mut peer) = Rig::new(1).await;
    peer.wait_credits(1).await;
    peer.send(Message::Drain(Drain { retry_after: None })).await;
    let mut peer = rig.planner.welcome().await;
    peer.wait_credits(1).await;
}

#[tokio::test]
async fn the_ready_file_is_written_once_a_planner_said_welcome() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ready.json");
    let file = path.clone();
    let mut rig = Rig::start(1, Scripted::default(), |o| o.ready_file = Some(file)).await;
    assert!(!path.exists());
    let _peer = rig.planner.welcome().await;
    until("the file is there", || path.exists()).await;
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("\"grpc\":null") && text.contains("\"http\":null"), "{text}");
}
