//! `/v1/batches/{id}/events`: a watch as server-sent events, for browsers and curl.

use std::convert::Infallible;

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode},
    response::{IntoResponse, Response, Sse, sse},
};
use caravan_proto::{
    error::Reason,
    json,
    v1::{BatchDelta, WatchBatchRequest, WatchBatchResponse, watch_batch_response::Event},
};
use futures::{StreamExt as _, stream};
use serde_json::{Map, Value};
use std::time::Duration;
use tokio::time::timeout;
use tonic::Status;

use super::{Rest, batches, caller::Caller, error::Error, segment::Segment};

/// When browsers come again after a break.
const RETRY: Duration = Duration::from_secs(1);
/// Sent by browsers that come again: the `id` of the last event they saw.
const LAST_EVENT_ID: &str = "last-event-id";
/// nginx is told to hand on what comes as it comes.
const UNBUFFERED: (HeaderName, &str) = (HeaderName::from_static("x-accel-buffering"), "no");

/// `snapshot`, the whole batch; then `delta`, each an object with the new values of the fields that changed,
/// null for one that is gone; then `final`. A slow reader gets a `snapshot` again. The port's time limit holds
/// for the head alone.
pub(super) async fn get(
    State(rest): State<Rest>,
    caller: Caller,
    id: Segment,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let resume_token = headers.get(LAST_EVENT_ID).map(|token| String::from_utf8_lossy(token.as_bytes()));
    let resume_token = resume_token.unwrap_or_default().into_owned();
    let request = caller.stream(WatchBatchRequest { name: batches::parse(&id)?.name(), resume_token });
    let late = |_| Reason::DeadlineExceeded.status("the planner took too long to begin");
    let begun = async {
        let mut messages = rest.watches.subscribe(request).await?;
        let first = messages.next().await;
        Ok::<_, Status>((first, messages))
    };
    let (first, messages) = timeout(rest.timeout, begun).await.map_err(late)??;
    if let Some(Ok(WatchBatchResponse { r#final: true, event: Some(Event::Heartbeat(_)), .. })) = first {
        // Whoever has seen the end is told not to come again.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let retry = stream::iter([Ok(sse::Event::default().retry(RETRY))]);
    let messages = stream::iter(first).chain(messages);
    let events = messages.scan(None, |state, message| {
        // A break ends the stream: the reader comes again, and hears then what there is to hear.
        futures::future::ready(message.ok().map(|message| stream::iter(events(message, state))))
    });
    let events = retry.chain(events.flatten().map(Ok::<_, Infallible>));
    Ok(([UNBUFFERED], Sse::new(events)).into_response())
}

/// What a message says; `state` is what was known of the batch's.
fn events(message: WatchBatchResponse, state: &mut Option<Value>) -> Vec<sse::Event> {
    let (name, data) = match message.event {
        Some(Event::Snapshot(batch)) => ("snapshot", json::to_value(&batch)),
        Some(Event::Delta(delta)) => ("delta", changes(&delta)),
        Some(Event::Heartbeat(_)) | None => ("", Value::Null),
    };
    if let Some(known) = data.get("state") {
        *state = Some(known.clone());
    }
    let event = match name {
        "" => sse::Event::default().comment(""),
        name => sse::Event::default().event(name).data(data.to_string()),
    };
    if !message.r#final {
        return vec![if name.is_empty() { event } else { event.id(message.resume_token) }];
    }
    // Who is cut off between the two gets both again.
    let end = serde_json::json!({ "state": state });
    let end = sse::Event::default().event("final").data(end.to_string()).id(message.resume_token);
    vec![event, end]
}

/// The fields that changed, by name.
fn changes(delta: &BatchDelta) -> Value {
    let mut batch = json::to_value(&delta.batch.clone().unwrap_or_default());
    let paths = delta.update_mask.iter().flat_map(|mask| &mask.paths);
    paths.map(|path| (path.clone(), batch[path].take())).collect::<Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use caravan_proto::v1::{Batch, RequestCounts};
    use prost_types::FieldMask;

    use super::*;

    #[test]
    fn a_delta_holds_what_changed_and_null_for_what_is_gone() {
        let requests = Some(RequestCounts { total: 3, succeeded: 2, failed: 0 });
        let batch = Batch { requests, revision: 7, ..Batch::default() };
        let paths = ["requests", "progress", "revision", "line_error_count"].map(str::to_owned).to_vec();
        let delta = BatchDelta { batch: Some(batch), update_mask: Some(FieldMask { paths }) };
        let requests = serde_json::json!({ "total": 3, "succeeded": 2, "failed": 0 });
        let expected = serde_json::json!({
            "requests": requests, "progress": null, "revision": 7, "line_error_count": 0,
        });
        assert_eq!(changes(&delta), expected);
    }
}
