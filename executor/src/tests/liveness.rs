//! Engines that answer about themselves and not to requests.

use caravan_proto::v1::{WorkHeartbeat, engine::State};

use super::{
    engine::{Event, Reply},
    planner::said,
    *,
};

/// Enough answers to know an engine's speed by.
const LEARNT: usize = 12;

fn quick(options: &mut Options) {
    // The planner of these tests acks nothing.
    options.limits.ack_millis = 600_000;
    options.limits.tries = 1;
    options.liveness.floor_seconds = 1;
    options.liveness.probe_seconds = 1;
    options.liveness.mend_seconds = 0;
}

fn texts(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}{number}")).collect()
}

fn refs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// Whether a heartbeat says that the engine is down, in words with `part`.
fn is_down(beat: &WorkHeartbeat, part: &str) -> bool {
    let engine = &beat.engines[0];
    engine.state() == State::Down && engine.message.contains(part)
}

#[tokio::test]
async fn a_frozen_runner_is_found_by_a_request_and_mended_by_an_unload_and_nothing_is_lost() {
    let (rig, mut peer) = Rig::with(2, Scripted::default(), quick).await;
    peer.wait_credits(2).await;
    let (first, second) = (texts("a", LEARNT), texts("b", LEARNT));
    peer.lease(Lease { lane: 0, ..lease("a", &refs(&first)) }).await;
    peer.lease(Lease { lane: 1, ..lease("b", &refs(&second)) }).await;
    peer.wait_results(2 * LEARNT).await;
    rig.engine.freeze(true);
    peer.lease(Lease { lane: 0, ..lease("c", &["c1", "c2"]) }).await;
    peer.lease(Lease { lane: 1, ..lease("d", &["d1", "d2"]) }).await;
    peer.wait_results(2 * LEARNT + 4).await;
    let last: Vec<_> = peer.results[2 * LEARNT..].iter().map(said).collect();
    assert!(["C1", "C2", "D1", "D2"].iter().all(|text| last.contains(&(*text).to_owned())), "{last:?}");
    let events = rig.engine.events();
    let unloads = events.iter().filter(|event| matches!(event, Event::Unload { .. })).count();
    assert!(rig.engine.probes() >= 2 && unloads == 1, "{events:?}");
    assert!(peer.heartbeats.iter().any(|beat| is_down(beat, "no answer")));
}

#[tokio::test]
async fn an_engine_that_stays_stuck_is_down_with_the_way_out_until_it_answers_again() {
    let mut rig = Rig::start(1, Scripted::default(), quick).await;
    let mut peer = rig.planner.welcome_for(3).await;
    peer.wait_credits(1).await;
    peer.lease(lease("a", &refs(&texts("a", LEARNT)))).await;
    peer.wait_results(LEARNT).await;
    rig.engine.freeze(false);
    peer.lease(lease("b", &["b1"])).await;
    peer.wait("the way out", |p| p.heartbeats.last().is_some_and(|beat| is_down(beat, "restart it"))).await;
    peer.wait("the lease back", |p| p.handed_back() == [("b", "engine_down")]).await;
    assert_eq!(peer.results.len(), LEARNT, "it was not the request's fault");
    rig.engine.thaw();
    peer.wait("up again", |p| p.heartbeats.last().is_some_and(|b| b.engines[0].state() == State::Ready))
        .await;
    peer.lease(lease("c", &["c1"])).await;
    peer.wait_results(LEARNT + 1).await;
}

#[tokio::test]
async fn an_engine_that_only_takes_its_time_is_asked_and_left_alone() {
    let paced = Scripted::paced(100, Duration::from_millis(1));
    let (rig, mut peer) = Rig::with(2, paced, quick).await;
    peer.wait_credits(2).await;
    peer.lease(lease("a", &refs(&texts("a", LEARNT)))).await;
    peer.wait_results(LEARNT).await;
    let before = peer.heartbeats.len();
    rig.engine.permits.forget_permits(usize::MAX);
    peer.lease(lease("b", &["b1"])).await;
    until("it is asked", || rig.engine.probes() > 0).await;
    rig.engine.permits.add_permits(1);
    peer.wait_results(LEARNT + 1).await;
    assert_eq!(rig.engine.asked().iter().filter(|text| *text == "b1").count(), 1);
    assert!(peer.heartbeats[before..].iter().all(|beat| beat.engines[0].state() == State::Ready));
}

#[tokio::test]
async fn after_a_time_without_work_an_engine_is_asked_before_a_request_is_sent() {
    let (rig, mut peer) = Rig::with(1, Scripted::default(), |options| {
        quick(options);
        options.liveness.idle_seconds = 0;
    })
    .await;
    peer.wait_credits(1).await;
    peer.lease(lease("a", &["a1", "a2"])).await;
    peer.wait_results(2).await;
    assert_eq!(rig.engine.probes(), 1, "before the first nothing was ever sent");
    rig.engine.freeze(true);
    peer.lease(lease("b", &["b1"])).await;
    peer.wait_results(3).await;
    assert_eq!(rig.engine.asked(), ["a1", "a2", "b1"], "nothing was sent while it was frozen");
}

#[tokio::test]
async fn a_request_that_the_engine_sticks_at_runs_alone_and_is_quarantined() {
    let engine = Scripted::default().reply("poison", &[Reply::Freeze, Reply::Freeze, Reply::Freeze]);
    let (rig, mut peer) = Rig::with(2, engine, quick).await;
    peer.wait_credits(2).await;
    let learnt = texts("a", LEARNT);
    peer.lease(Lease { lane: 0, ..lease("a", &refs(&learnt)) }).await;
    peer.wait_results(LEARNT).await;
    let others = texts("o", 20);
    peer.lease(Lease { lane: 0, ..lease("b", &["poison", "after"]) }).await;
    peer.lease(Lease { lane: 1, ..lease("c", &refs(&others)) }).await;
    peer.wait_results(LEARNT + 22).await;
    let of = |text: &str| peer.results.iter().find(|r| r.custom_id.ends_with(text)).map(said).unwrap();
    assert_eq!((of("-poison").as_str(), of("-after").as_str()), ("request_kills_engine", "AFTER"));
    let ended = peer.results.iter().filter(|result| said(result) == "request_kills_engine").count();
    assert_eq!(ended, 1, "nobody else is blamed");
    assert_eq!(rig.engine.asked().iter().filter(|text| *text == "poison").count(), 3);
}
