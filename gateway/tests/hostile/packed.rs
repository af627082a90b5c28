//! Bodies that are packed, which nobody here unpacks.

use caravan_gateway::Options;
use serde_json::Value;

use crate::edge::Edge;

#[tokio::test]
async fn a_body_that_is_packed_is_refused_by_its_name() {
    let edge = Edge::start(Options::default()).await;
    for (path, kind) in [("v1/files", "multipart/form-data; boundary=b"), ("v1/batches", "application/json")]
    {
        let request = reqwest::Client::new().post(format!("http://{}/{path}", edge.http));
        // The head of a gzip.
        let request = request.header("content-type", kind).body(&b"\x1f\x8b\x08\0"[..]);
        let answer = request.header("content-encoding", "gzip").send().await.expect("an answer");
        assert_eq!(answer.status(), 415);
        assert_eq!(answer.headers()["accept-encoding"], "identity");
        let body: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
        assert_eq!(body["error"]["code"], "unsupported_content_encoding", "{body}");
        assert_eq!(body["error"]["param"], "Content-Encoding");
        assert!(body["error"]["message"].as_str().expect("text").contains("gzip"), "{body}");
    }
}
