use std::time::Duration;

use caravan_proto::{
    error::reason,
    name::BatchId,
    v1::{WatchBatchRequest, WatchBatchResponse, watch_batch_response::Event},
};
use tokio::time::timeout;
use tonic::{Request, Streaming};

use crate::edge::{Edge, PATIENCE, dial, gateway};

async fn next(watch: &mut Streaming<WatchBatchResponse>) -> WatchBatchResponse {
    let message = timeout(PATIENCE, watch.message()).await.expect("in time");
    message.expect("no break").expect("a message")
}

/// Requests that succeeded, as the message tells; none if it tells nothing of them.
fn succeeded(message: &WatchBatchResponse) -> Option<i64> {
    let batch = match message.event.as_ref()? {
        Event::Snapshot(batch) => batch,
        Event::Delta(delta) => delta.batch.as_ref()?,
        Event::Heartbeat(_) => return None,
    };
    Some(batch.requests?.succeeded)
}

#[tokio::test]
async fn subscribers_share_one_watch_and_get_every_change_once() {
    let edge = Edge::start().await;
    let mut watches = Vec::new();
    for _ in 0..20 {
        watches.push(edge.watch("").await.expect("a stream"));
    }
    for watch in &mut watches {
        assert!(matches!(next(watch).await.event, Some(Event::Snapshot(_))));
    }
    edge.begun(21).await;
    for (revision, count) in [(4, 5), (5, 6)] {
        edge.says(revision, count, false);
        for watch in &mut watches {
            let message = next(watch).await;
            assert!(matches!(message.event, Some(Event::Delta(_))), "{message:?}");
            assert_eq!(succeeded(&message), Some(count));
            assert_eq!(message.resume_token, edge.planner.token(revision));
        }
    }
    edge.says(6, 9, true);
    for watch in &mut watches {
        let message = next(watch).await;
        assert_eq!((succeeded(&message), message.r#final), (Some(9), true));
        assert_eq!(watch.message().await.expect("a good end"), None);
    }
    edge.left().await;
}

#[tokio::test]
async fn the_watch_ends_with_its_last_subscriber_and_begins_anew_with_the_next() {
    let edge = Edge::start().await;
    let mut one = edge.watch("").await.expect("a stream");
    let other = edge.watch("").await.expect("a stream");
    next(&mut one).await;
    edge.begun(3).await;
    drop(other);
    edge.says(4, 5, false);
    assert_eq!(succeeded(&next(&mut one).await), Some(5), "the other one stays");
    drop(one);
    edge.left().await;
    let mut anew = edge.watch("").await.expect("a stream");
    assert_eq!(succeeded(&next(&mut anew).await), Some(4), "what the planner says first");
    edge.begun(5).await;
}

#[tokio::test]
async fn a_slow_reader_gets_the_latest_state_as_a_whole() {
    let edge = Edge::start().await;
    let mut quick = edge.watch("").await.expect("a stream");
    let request = edge.request("");
    let mut slow = dial(&edge.gateway).watch_batch(request).await.expect("a stream").into_inner();
    next(&mut quick).await;
    next(&mut slow).await;
    edge.begun(3).await;
    // The window of a stream has 2 MiB at these clients: what does not fit while nobody reads is left out.
    let changes = 100;
    for revision in 4..changes {
        edge.says_at_length(revision, revision, false, "x".repeat(100 << 10));
        assert_eq!(succeeded(&next(&mut quick).await), Some(revision));
    }
    edge.says(changes, changes, true);
    let mut messages = Vec::new();
    while let Some(message) = timeout(PATIENCE, slow.message()).await.expect("in time").expect("no break") {
        messages.push(message);
    }
    let last = messages.last().expect("a message");
    assert!(last.r#final && last.resume_token == edge.planner.token(changes), "{last:?}");
    assert!(messages.iter().any(|message| matches!(message.event, Some(Event::Snapshot(_)))));
    assert!(messages.len() < 40, "{} messages", messages.len());
}

#[tokio::test]
async fn a_current_token_gets_what_comes_after_and_an_old_one_the_whole() {
    let edge = Edge::start().await;
    let mut current = edge.watch(&edge.planner.token(3)).await.expect("a stream");
    assert!(matches!(next(&mut current).await.event, Some(Event::Heartbeat(_))));
    let Some(Event::Delta(moment)) = next(&mut current).await.event else {
        unreachable!("what lanes do now")
    };
    assert_eq!(moment.update_mask.expect("a mask").paths, ["chunks", "progress"]);
    assert_eq!(moment.batch.expect("a batch").chunks, edge.planner.batch.chunks);

    let mut old = edge.watch(&edge.planner.token(2)).await.expect("a stream");
    assert!(matches!(next(&mut old).await.event, Some(Event::Snapshot(_))));
    edge.says(4, 5, false);
    for watch in [&mut current, &mut old] {
        assert_eq!(succeeded(&next(watch).await), Some(5));
    }
    // The planner's own first word is older than what is known here by now.
    let mut late = edge.watch("").await.expect("a stream");
    assert_eq!(succeeded(&next(&mut late).await), Some(4));
    let whole = next(&mut late).await;
    assert!(matches!(whole.event, Some(Event::Snapshot(_))) && succeeded(&whole) == Some(5), "{whole:?}");
}

#[tokio::test]
async fn a_token_holds_at_another_gateway() {
    let mut edge = Edge::start().await;
    let mut watch = edge.watch("").await.expect("a stream");
    let token = next(&mut watch).await.resume_token;
    drop(watch);
    let (other, _) = edge.planner.serve(&mut edge.tasks).await;
    edge.client = dial(&gateway(&other, &mut edge.tasks).await.0);
    let mut resumed = edge.watch(&token).await.expect("a stream");
    let message = next(&mut resumed).await;
    assert!(matches!(message.event, Some(Event::Heartbeat(_))), "{message:?}");
}

#[tokio::test]
async fn refusals_are_the_planners() {
    let edge = Edge::start().await;
    let _open = edge.watch("").await.expect("a stream");
    let refused = edge.watch("nonsense").await.expect_err("no token");
    assert_eq!(reason(&refused).as_deref(), Some("INVALID_RESUME_TOKEN"));
    let request = WatchBatchRequest { name: BatchId::now().name(), ..Default::default() };
    let refused = edge.client.clone().watch_batch(request).await.expect_err("no such batch");
    assert_eq!(reason(&refused).as_deref(), Some("BATCH_NOT_FOUND"));
}

#[tokio::test]
async fn the_shared_watch_outlives_the_call_that_opened_it() {
    let edge = Edge::start().await;
    let mut request = Request::new(edge.request(""));
    request.set_timeout(Duration::from_millis(300));
    let mut first = edge.client.clone().watch_batch(request).await.expect("a stream").into_inner();
    next(&mut first).await;
    let mut other = edge.watch("").await.expect("a stream");
    next(&mut other).await;
    while timeout(PATIENCE, first.message()).await.expect("the deadline").is_ok() {}
    edge.begun(3).await;
    edge.says(4, 5, false);
    assert_eq!(succeeded(&next(&mut other).await), Some(5));
}
