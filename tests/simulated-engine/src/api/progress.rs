//! Deeds told step by step: a line each, or only the last one.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures::{Stream, StreamExt as _};
use serde_json::{Value, json};

use crate::engine::Failure;

/// One line of a report.
#[derive(Debug)]
pub(super) enum Step {
    Done(Value),
    Failed(Failure),
}

// === impl Step ===

impl Step {
    pub(super) fn status(status: &str) -> Self {
        Self::Done(json!({"status": status}))
    }

    fn line(&self) -> String {
        match self {
            Self::Done(done) => done.to_string(),
            Self::Failed(failure) => json!({"error": failure.message}).to_string(),
        }
    }
}

/// Tells `steps` as they are taken, or if not `streamed` the last of them with its status.
pub(super) async fn tell(steps: impl Stream<Item = Step> + Send + 'static, streamed: bool) -> Response {
    if streamed {
        let lines = steps.map(|step| Ok::<_, Infallible>(Bytes::from(step.line() + "\n")));
        let content_type = [(header::CONTENT_TYPE, "application/x-ndjson")];
        return (content_type, Body::from_stream(lines)).into_response();
    }
    let last = steps.fold(Step::status("success"), |_, step| async { step }).await;
    let status = if let Step::Failed(failure) = &last { failure.status } else { 200 };
    super::json(status, "application/json", last.line())
}
