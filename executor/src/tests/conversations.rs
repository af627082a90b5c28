//! Growing chats.

use caravan_proto::v1::Strategy;

use super::{
    engine::{Reply, failure},
    planner::said,
    *,
};
use crate::engine::{Class, Failure};

fn chat(id: &str, texts: &[&str], context: i64) -> Lease {
    let mut lease = lease(id, texts);
    let payload = lease.payload.as_mut().unwrap();
    payload.set_strategy(Strategy::Conversation);
    (payload.context, payload.answer_tokens) = (context, 5);
    lease
}

#[tokio::test]
async fn a_chat_grows_and_a_failed_exchange_leaves_no_trace() {
    let engine = Scripted::default().reply("bad", &[Reply::Fail(failure(Class::Request))]);
    let (rig, mut peer) = Rig::with(1, engine, |_| {}).await;
    peer.wait_credits(1).await;
    peer.lease(chat("a", &["one", "bad", "two", "three"], 1_000)).await;
    peer.wait_results(4).await;
    let runs = rig.engine.runs();
    assert_eq!(runs[0], ["sys", "one"]);
    assert_eq!(runs[1], ["sys", "one", "ONE", "bad"]);
    assert_eq!(runs[2], ["sys", "one", "ONE", "two"]);
    assert_eq!(runs[3], ["sys", "one", "ONE", "two", "TWO", "three"]);
}

#[tokio::test]
async fn a_chat_begins_anew_when_the_engine_says_that_the_context_is_full() {
    let full = Failure { code: "context_length_exceeded", ..failure(Class::Request) };
    let engine =
        Scripted::default().reply("two", &[Reply::Fail(full.clone())]).reply("one", &[Reply::Fail(full)]);
    let (rig, mut peer) = Rig::with(1, engine, |_| {}).await;
    peer.wait_credits(1).await;
    peer.lease(chat("a", &["one", "first", "two", "three"], 1_000)).await;
    peer.wait_results(4).await;
    let all: Vec<_> = peer.results.iter().map(said).collect();
    assert_eq!(all, ["context_length_exceeded", "FIRST", "TWO", "THREE"], "alone it is refused for good");
    let runs = rig.engine.runs();
    assert_eq!(runs[2], ["sys", "first", "FIRST", "two"]);
    assert_eq!(runs[3], ["sys", "two"]);
    assert_eq!(runs[4], ["sys", "two", "TWO", "three"]);
}

#[tokio::test]
async fn a_chat_begins_anew_before_it_would_overflow() {
    let (rig, mut peer) = Rig::new(1).await;
    peer.wait_credits(1).await;
    // 22 tokens so far, 2 of the request's own, 5 for the answer: 29 do not fit.
    peer.lease(chat("a", &["one", "two"], 28)).await;
    peer.wait_results(2).await;
    assert_eq!(rig.engine.runs()[1], ["sys", "two"]);
}

#[tokio::test]
async fn a_chat_leased_again_starts_from_the_shared_prompt() {
    let (rig, mut peer) = Rig::new(1).await;
    peer.wait_credits(1).await;
    peer.lease(Lease { done: vec![0b11], ..chat("a", &["one", "two", "three"], 1_000) }).await;
    peer.wait_results(1).await;
    assert_eq!(rig.engine.runs(), [["sys", "three"]]);
}

#[tokio::test]
async fn each_lane_has_its_own_chat() {
    let (rig, mut peer) = Rig::new(2).await;
    peer.wait_credits(2).await;
    peer.lease(Lease { lane: 0, ..chat("a", &["a1", "a2", "a3"], 1_000) }).await;
    peer.lease(Lease { lane: 1, ..chat("b", &["b1", "b2", "b3"], 1_000) }).await;
    peer.wait_results(6).await;
    let runs = rig.engine.runs();
    for own in ["a", "b"] {
        let (other, longest) = (if own == "a" { "B" } else { "A" }, format!("{own}3"));
        let last = runs.iter().find(|texts| texts.last() == Some(&longest)).unwrap();
        assert_eq!(last.len(), 6, "{last:?}");
        assert!(!last.iter().any(|text| text.to_uppercase().starts_with(other)), "{last:?}");
    }
}

#[tokio::test]
async fn a_chat_keeps_to_the_context_of_its_plan_though_the_model_has_more() {
    let (rig, mut peer) = Rig::new(2).await;
    peer.wait_credits(2).await;
    let mut wide = Lease { lane: 1, ..lease("w", &["w1"]) };
    wide.payload.as_mut().unwrap().context = 4_000;
    peer.lease(wide).await;
    peer.wait_results(1).await;
    peer.lease(chat("a", &["one", "two"], 28)).await;
    peer.wait_results(3).await;
    assert_eq!(rig.engine.runs().last().unwrap(), &["sys", "two"]);
    assert_eq!(rig.engine.loads(), [("m".to_owned(), 4_000)], "it ran in the larger context");
}

#[tokio::test]
async fn a_chat_makes_room_for_the_answer_that_a_request_states() {
    let (rig, mut peer) = Rig::new(1).await;
    peer.wait_credits(1).await;
    let mut chat = chat("a", &["one", "two"], 60);
    let stated = &mut chat.payload.as_mut().unwrap().requests[1];
    stated.body = stated.body.replacen('{', r#"{"max_tokens":40,"#, 1);
    peer.lease(chat).await;
    peer.wait_results(2).await;
    assert_eq!(rig.engine.runs()[1], ["sys", "two"], "22 + 2 + 40 tokens are more than 60");
}
