//! Engines that are down, die, refuse, or answer nonsense.

use serde_json::json;

use super::{
    engine::{Event, Reply, failure},
    planner::said,
    *,
};
use crate::engine::{Class, Failure};

fn down() -> Failure {
    failure(Class::Down)
}

#[tokio::test]
async fn a_chunk_waits_for_an_engine_that_is_down_and_no_request_fails() {
    let engine = Scripted::default().reply("two", &[Reply::Fail(down()), Reply::Fail(down())]);
    let description = engine.description();
    let (rig, mut peer) = Rig::with(1, engine, |o| o.limits.tries = 1).await;
    peer.wait_credits(1).await;
    rig.engine.set_description(Err(down()));
    peer.lease(lease("a", &["one", "two", "three"])).await;
    peer.wait_results(1).await;
    peer.wait("down is told", |p| {
        p.heartbeats.last().is_some_and(|b| b.engines[0].state() == caravan_proto::v1::engine::State::Down)
    })
    .await;
    assert!(peer.held().await.contains("a"));
    assert_eq!(rig.engine.asked(), ["one", "two"], "not sent while it is down");

    rig.engine.set_description(Ok(description));
    peer.wait_results(3).await;
    let all: Vec<_> = peer.results.iter().map(said).collect();
    assert_eq!(all, ["ONE", "TWO", "THREE"]);
    assert_eq!(rig.engine.asked(), ["one", "two", "two", "two", "three"]);
    assert!(rig.engine.loads().len() >= 2, "what was loaded is gone with the engine's death");
}

#[tokio::test]
async fn lanes_of_an_engine_that_is_down_ask_for_nothing() {
    let engine = Scripted::default();
    let description = engine.description();
    engine.set_description(Err(down()));
    let (rig, mut peer) = Rig::with(2, engine, |_| {}).await;
    peer.fresh_heartbeat().await;
    assert!(peer.credits.is_empty());
    rig.engine.set_description(Ok(description));
    peer.wait_credits(2).await;
    let up = peer.kinds.iter().position(|kind| *kind == "credits").unwrap();
    assert_eq!(peer.kinds[up - 1], "heartbeat", "the engine's models are told before");
}

#[tokio::test]
async fn an_engine_down_for_longer_than_a_lease_lives_gives_its_leases_back() {
    let engine = Scripted::default().reply("two", &vec![Reply::Fail(down()); 1_000]);
    let mut rig = Rig::start(1, engine, |_| {}).await;
    let mut peer = rig.planner.welcome_for(1).await;
    peer.wait_credits(1).await;
    peer.lease(lease("a", &["one", "two"])).await;
    peer.wait("the lease back", |p| p.handed_back() == [("a", "engine_down")]).await;
    assert_eq!(said(&peer.results[0]), "ONE");
    assert_eq!(peer.results.len(), 1);
}

#[tokio::test]
async fn a_fetched_chunk_does_not_wait_for_ever_for_an_engine_that_is_down() {
    let engine = Scripted::default().reply("two", &vec![Reply::Fail(down()); 1_000]);
    let mut rig = Rig::start(1, engine, |_| {}).await;
    let mut peer = rig.planner.welcome_for(1).await;
    peer.wait_credits(1).await;
    peer.lease(lease("a", &["one", "two"])).await;
    peer.wait_credits(2).await;
    rig.engine.set_description(Err(down()));
    peer.lease(lease("b", &["three"])).await;
    peer.wait("both leases back", |p| p.handed_back() == [("a", "engine_down"), ("b", "engine_down")]).await;
}

#[tokio::test]
async fn retries_end_and_a_refusal_is_the_answer() {
    let refusal =
        Failure { status: Some(400), body: Some(json!({"error": "no"})), ..failure(Class::Request) };
    let engine = Scripted::default()
        .reply("flaky", &[Reply::Fail(failure(Class::Retry)), Reply::Text("fine")])
        .reply("broken", &vec![Reply::Fail(failure(Class::Retry)); 9])
        .reply("refused", &[Reply::Fail(refusal)]);
    let (rig, mut peer) = Rig::with(1, engine, |o| o.limits.tries = 2).await;
    peer.wait_credits(1).await;
    peer.lease(lease("a", &["flaky", "broken", "refused"])).await;
    peer.wait_results(3).await;
    let all: Vec<_> = peer.results.iter().map(said).collect();
    assert_eq!(all, ["fine", "scripted", r#"400 {"error":"no"}"#]);
    assert_eq!(rig.engine.asked(), ["flaky", "flaky", "broken", "broken", "refused"]);
}

#[tokio::test]
async fn a_request_that_is_never_answered_in_time_ends_if_the_engine_answers_probes() {
    let late = Failure { code: Failure::TIMEOUT, ..down() };
    let engine = Scripted::default().reply("slow", &vec![Reply::Fail(late); 1_000]);
    let (rig, mut peer) = Rig::with(1, engine, |o| o.limits.tries = 2).await;
    peer.wait_credits(1).await;
    peer.lease(lease("a", &["slow", "after"])).await;
    peer.wait_results(2).await;
    let all: Vec<_> = peer.results.iter().map(said).collect();
    assert_eq!(all, ["engine_timeout", "AFTER"]);
    assert_eq!(rig.engine.asked(), ["slow", "slow", "after"]);
}

#[tokio::test]
async fn timeouts_of_an_engine_that_was_away_count_nothing() {
    let late = Failure { code: Failure::TIMEOUT, ..down() };
    let engine = Scripted::default().reply("slow", &[Reply::Fail(late)]);
    let description = engine.description();
    let (rig, mut peer) = Rig::with(1, engine, |o| o.limits.tries = 1).await;
    peer.wait_credits(1).await;
    rig.engine.set_description(Err(down()));
    peer.lease(lease("a", &["slow"])).await;
    peer.wait("down is told", |p| {
        p.heartbeats.last().is_some_and(|b| b.engines[0].state() == caravan_proto::v1::engine::State::Down)
    })
    .await;
    rig.engine.set_description(Ok(description));
    peer.wait_results(1).await;
    assert_eq!(said(&peer.results[0]), "SLOW");
}

#[tokio::test]
async fn a_suspect_runs_alone_and_two_deaths_alone_quarantine_it() {
    let death = || Reply::Fail(failure(Class::Suspect));
    let engine = Scripted::default().reply("poison", &vec![death(); 9]).reply("victim", &[death()]);
    let (rig, mut peer) = Rig::with(2, engine, |_| {}).await;
    peer.wait_credits(2).await;
    let others: Vec<String> = (0..50).map(|n| format!("other{n}")).collect();
    let mut busy: Vec<&str> = vec!["victim"];
    busy.extend(others.iter().map(String::as_str));
    peer.lease(Lease { lane: 0, ..lease("a", &["poison", "after"]) }).await;
    peer.lease(Lease { lane: 1, ..lease("b", &busy) }).await;
    peer.wait_results(2 + busy.len()).await;

    let of = |text: &str| peer.results.iter().find(|r| r.custom_id.ends_with(text)).map(said).unwrap();
    assert_eq!(of("-poison"), "request_kills_engine");
    assert_eq!((of("-victim"), of("-after")), ("VICTIM".into(), "AFTER".into()));
    assert_eq!(rig.engine.asked().iter().filter(|text| *text == "poison").count(), 3);
    let reruns = |text: &str| -> Vec<usize> {
        let runs = rig.engine.events().into_iter().filter_map(|event| match event {
            Event::Run { texts, others } if texts.last().is_some_and(|last| last == text) => Some(others),
            _ => None,
        });
        runs.skip(1).collect()
    };
    assert_eq!((reruns("poison"), reruns("victim")), (vec![0, 0], vec![0]), "re-runs are alone");
}

#[tokio::test]
async fn bystanders_and_deaths_in_company_count_nothing() {
    let engine = Scripted::default().reply("x", &vec![Reply::Fail(failure(Class::Bystander)); 5]);
    let (rig, mut peer) = Rig::with(1, engine, |o| o.limits.tries = 1).await;
    peer.wait_credits(1).await;
    peer.lease(lease("a", &["x"])).await;
    peer.wait_results(1).await;
    assert_eq!((said(&peer.results[0]), rig.engine.asked().len()), ("X".into(), 6));
}

#[tokio::test]
async fn invalid_structured_output_is_run_once_more() {
    let schema = json!({"type": "object", "required": ["label"]});
    let engine = Scripted::default()
        .reply("mended", &[Reply::Text("{"), Reply::Text(r#"{"label":1}"#)])
        .reply("wrong", &[Reply::Text("{}"), Reply::Text("{}"), Reply::Text(r#"{"label":1}"#)])
        .reply("cut", &[Reply::Cut(r#"{"label":1}"#), Reply::Cut(r#"{"label":1}"#)])
        .reply("greedy", &[Reply::Cut("{"), Reply::Text(r#"{"label":1}"#)]);
    let (rig, mut peer) = Rig::with(1, engine, |_| {}).await;
    peer.wait_credits(1).await;
    let mut lease = lease("a", &["mended", "wrong", "cut", "greedy"]);
    let format = json!({"type": "json_schema", "json_schema": {"name": "l", "schema": schema}});
    lease.payload.as_mut().unwrap().shared =
        json!({"model": "m", "messages": [], "response_format": format}).to_string();
    let greedy = &mut lease.payload.as_mut().unwrap().requests[3];
    greedy.body = greedy.body.replacen('{', r#"{"temperature":0,"#, 1);
    peer.lease(lease).await;
    peer.wait_results(4).await;
    let all: Vec<_> = peer.results.iter().map(said).collect();
    let invalid = "invalid_structured_output";
    assert_eq!(all, [r#"{"label":1}"#, invalid, invalid, invalid]);
    let asked = ["mended", "mended", "wrong", "wrong", "cut", "cut", "greedy"];
    assert_eq!(rig.engine.asked(), asked, "at temperature 0 it would be cut again");
    let spent: Vec<_> =
        peer.results.iter().filter_map(|r| r.usage).map(|u| (u.prompt_tokens, u.completion_tokens)).collect();
    assert_eq!(spent, [(40, 4), (40, 4), (40, 4), (20, 2)], "invalid answers count");
}
