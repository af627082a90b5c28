//! One reload set at a time.

use super::{
    engine::{Event, failure},
    *,
};
use crate::engine::{Class, ReloadSet};

fn needing(id: &str, lane: i32, model: &str, context: i64, texts: &[&str]) -> Lease {
    let mut lease = Lease { lane, ..lease(id, texts) };
    let payload = lease.payload.as_mut().unwrap();
    (payload.model, payload.context) = (model.into(), context);
    lease
}

#[tokio::test]
async fn a_chunk_that_fits_runs_at_once_and_another_waits_until_all_are_drained() {
    let (rig, mut peer) = Rig::with(3, Scripted::held(), |_| {}).await;
    peer.wait_credits(3).await;
    peer.lease(needing("a", 0, "m", 1_000, &["a1", "a2"])).await;
    until("a runs", || rig.engine.in_flight() == 1).await;
    peer.lease(needing("b", 1, "m", 500, &["b1"])).await;
    until("b runs beside it", || rig.engine.in_flight() == 2).await;
    peer.lease(needing("c", 2, "m", 4_000, &["c1"])).await;
    peer.wait("c is held", |p| p.heartbeats.last().is_some_and(|b| b.leases.len() == 3)).await;
    peer.fresh_heartbeat().await;
    assert_eq!((rig.engine.in_flight(), rig.engine.loads().len()), (2, 1));

    rig.engine.permits.add_permits(2);
    peer.wait_results(2).await;
    rig.engine.permits.add_permits(2);
    peer.wait_results(4).await;
    assert_eq!(rig.engine.loads(), [("m".to_owned(), 1_000), ("m".to_owned(), 4_000)]);
    let busy = rig.engine.events().into_iter().any(|e| matches!(e, Event::Load { in_flight: 1.., .. }));
    assert!(!busy, "loaded while requests were in flight");
    assert_eq!(rig.engine.asked().last().unwrap(), "c1");
}

#[tokio::test]
async fn the_batch_of_a_chunk_is_what_the_model_is_loaded_with() {
    let (rig, mut peer) = Rig::new(1).await;
    peer.wait_credits(1).await;
    let mut wide = needing("a", 0, "m", 1_000, &["a1"]);
    wide.payload.as_mut().unwrap().batch_tokens = 1_024;
    peer.lease(wide).await;
    peer.wait_results(1).await;
    peer.wait_credits(2).await;
    let mut narrow = needing("b", 0, "m", 900, &["b1"]);
    narrow.payload.as_mut().unwrap().batch_tokens = 512;
    peer.lease(narrow).await;
    peer.wait_results(2).await;
    assert_eq!(rig.engine.sets(), [ReloadSet { context: 1_000, batch: 1_024, embedding: false }]);
}

#[tokio::test]
async fn one_load_serves_all_that_wait_for_the_model() {
    let (rig, mut peer) = Rig::with(3, Scripted::held(), |_| {}).await;
    peer.wait_credits(3).await;
    peer.lease(needing("a", 0, "m", 1_000, &["a1"])).await;
    until("a runs", || rig.engine.in_flight() == 1).await;
    peer.lease(needing("b", 1, "other", 500, &["b1"])).await;
    peer.lease(needing("c", 2, "other", 800, &["c1"])).await;
    peer.wait("all are held", |p| p.heartbeats.last().is_some_and(|b| b.leases.len() == 3)).await;
    peer.fresh_heartbeat().await;
    rig.engine.permits.add_permits(3);
    peer.wait_results(3).await;
    assert_eq!(rig.engine.loads(), [("m".to_owned(), 1_000), ("other".to_owned(), 800)]);
}

#[tokio::test]
async fn a_model_that_does_not_load_is_given_back_and_no_longer_offered() {
    let (rig, mut peer) = Rig::new(2).await;
    rig.engine.set_load_failure(Some(failure(Class::Model)));
    peer.wait_credits(2).await;
    peer.lease(needing("a", 0, "m", 0, &["a1"])).await;
    peer.lease(needing("b", 1, "m", 0, &["b1"])).await;
    peer.wait("both back", |p| p.handed_back().len() == 2).await;
    assert!(peer.handed_back().iter().all(|(_, reason)| *reason == "model_unusable"));
    assert_eq!(rig.engine.loads().len(), 1, "it is not tried again");
    let engine = peer.fresh_heartbeat().await.engines.remove(0);
    assert_eq!(engine.models.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(), ["other"]);
    assert!(
        engine.message.contains("model m") && engine.message.contains("as scripted"),
        "{}",
        engine.message
    );

    rig.engine.set_load_failure(None);
    peer.wait_credits(4).await;
    peer.lease(needing("c", 0, "other", 0, &["c1"])).await;
    peer.wait_results(1).await;
}
