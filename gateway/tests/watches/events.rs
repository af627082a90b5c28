use caravan_proto::name::BatchId;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::edge::{Edge, PATIENCE};

/// A stream of events as it is read.
struct Events {
    response: Response,
    text: String,
}

/// One event; a comment has neither name nor data.
#[derive(Debug, Default, PartialEq)]
struct Event {
    name: String,
    data: Value,
    id: String,
    retry: String,
}

// === impl Events ===

impl Events {
    async fn open(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-cache");
        Self { response, text: String::new() }
    }

    /// None at the end.
    async fn next(&mut self) -> Option<Event> {
        let whole = async {
            while !self.text.contains("\n\n") {
                let more = self.response.chunk().await.expect("no break")?;
                self.text.push_str(std::str::from_utf8(&more).expect("UTF-8"));
            }
            Some(())
        };
        timeout(PATIENCE, whole).await.expect("in time")?;
        let (event, rest) = self.text.split_once("\n\n").expect("an event");
        let mut parsed = Event::default();
        for line in event.lines() {
            let (field, value) = line.split_once(':').expect("a field");
            let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
            match field {
                "event" => parsed.name = value,
                "data" => parsed.data = serde_json::from_str(&value).expect("JSON"),
                "id" => parsed.id = value,
                "retry" => parsed.retry = value,
                "" => {}
                other => unreachable!("{other}"),
            }
        }
        self.text = rest.to_owned();
        Some(parsed)
    }

    async fn event(&mut self) -> Event {
        self.next().await.expect("an event")
    }
}

fn request(edge: &Edge) -> RequestBuilder {
    let id = edge.planner.batch.name.strip_prefix("batches/").expect("a name");
    Client::new().get(edge.http.join(&format!("/v1/batches/{id}/events")).expect("a URL"))
}

#[tokio::test]
async fn a_batch_is_watched_to_its_end() {
    let edge = Edge::start().await;
    let mut events = Events::open(request(&edge)).await;
    assert_eq!(events.event().await, Event { retry: "1000".into(), ..Event::default() });
    let snapshot = events.event().await;
    assert_eq!((snapshot.name.as_str(), &snapshot.id), ("snapshot", &edge.planner.token(3)));
    assert_eq!(snapshot.data["requests"], json!({ "total": 10, "succeeded": 4, "failed": 1 }));
    edge.begun(2).await;
    edge.says(4, 5, false);
    let delta = events.event().await;
    assert_eq!((delta.name.as_str(), &delta.id), ("delta", &edge.planner.token(4)));
    let requests = json!({ "total": 10, "succeeded": 5, "failed": 1 });
    assert_eq!(delta.data, json!({ "requests": requests, "revision": 4, "state_message": null }));
    edge.says(5, 9, true);
    let last = events.event().await;
    assert_eq!(
        (last.name.as_str(), last.id.as_str()),
        ("delta", ""),
        "whoever misses the end gets both again"
    );
    let end = events.event().await;
    assert_eq!((end.name.as_str(), &end.id), ("final", &edge.planner.token(5)));
    assert_eq!(end.data, json!({ "state": "running" }), "the state that the script left it in");
    assert_eq!(events.next().await, None);
    edge.left().await;
}

#[tokio::test]
async fn a_browser_that_comes_again_goes_on_where_it_was() {
    let edge = Edge::start().await;
    let again = request(&edge).header("Last-Event-ID", edge.planner.token(3));
    let mut events = Events::open(again).await;
    events.event().await;
    assert_eq!(events.event().await, Event::default(), "a sign of life");
    let delta = events.event().await;
    assert_eq!(delta.data["chunks"], json!({ "total": 3, "done": 1, "running": 1 }));
    assert_eq!(delta.data["progress"], Value::Null);

    let wrong = request(&edge).header("Last-Event-ID", "nonsense").send().await.expect("an answer");
    assert_eq!(wrong.status(), 400);
    let error: Value = serde_json::from_str(&wrong.text().await.expect("a body")).expect("JSON");
    assert_eq!(error["error"]["code"], "invalid_resume_token");
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let edge = Edge::start().await;
    for id in ["nonsense".to_owned(), BatchId::now().to_string()] {
        let url = edge.http.join(&format!("/v1/batches/{id}/events")).expect("a URL");
        assert_eq!(reqwest::get(url).await.expect("an answer").status(), 404, "{id}");
    }
}

#[tokio::test]
async fn a_drain_ends_the_stream_well() {
    let edge = Edge::start().await;
    let mut events = Events::open(request(&edge)).await;
    events.event().await;
    events.event().await;
    edge.begun(2).await;
    edge.shutdown.trigger();
    assert_eq!(events.next().await, None, "the browser comes again after `retry`");
}

#[tokio::test]
async fn pages_of_other_origins_may_read_it_only_if_configured() {
    let edge = Edge::start().await;
    for (origin, allowed) in [("https://dashboard.example", true), ("https://evil.example", false)] {
        let events = Events::open(request(&edge).header("Origin", origin)).await;
        let told = events.response.headers().get("access-control-allow-origin");
        assert_eq!(told.is_some_and(|told| told == origin), allowed, "{origin}: {told:?}");
    }
}
