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
