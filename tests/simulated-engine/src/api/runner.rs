//! What the runner, a llama-server, tells of itself on a port of its own: slots and counters.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

use crate::engine::Engine;

/// The routes of the runner's port.
pub(crate) fn runner_router(engine: Arc<Engine>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/slots", get(slots))
        .route("/metrics", get(metrics))
        .with_state(engine)
}

async fn health(State(engine): State<Arc<Engine>>) -> Response {
    match engine.scheduler.busy() {
        Some(_) => super::json(200, super::JSON, json!({"status": "ok"}).to_string()),
        None => nothing_loaded(),
    }
}

async fn slots(State(engine): State<Arc<Engine>>) -> Response {
    let Some((busy, context)) = engine.scheduler.busy() else { return nothing_loaded() };
    let one = |(id, busy): (usize, &bool)| json!({"id": id, "n_ctx": context, "is_processing": busy});
    let all: Vec<_> = busy.iter().enumerate().map(one).collect();
    super::json(200, super::JSON, json!(all).to_string())
}

/// Ollama queues requests itself, so that none is ever deferred here.
async fn metrics(State(engine): State<Arc<Engine>>) -> Response {
    let Some((busy, _)) = engine.scheduler.busy() else { return nothing_loaded() };
    let stats = engine.stats.snapshot();
    let processing = busy.iter().filter(|busy| **busy).count() as u64;
    let mut text = String::new();
    for (name, kind, value) in [
        ("prompt_tokens_total", "counter", stats.evaluated_tokens),
        ("prompt_tokens_cached_total", "counter", stats.cached_tokens),
        ("tokens_predicted_total", "counter", stats.answer_tokens),
        ("requests_processing", "gauge", processing),
        ("requests_deferred", "gauge", 0),
    ] {
        text.push_str(&format!("# TYPE llamacpp:{name} {kind}\nllamacpp:{name} {value}\n"));
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

/// There is no runner, so nobody would listen there.
fn nothing_loaded() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "no model is loaded").into_response()
}
