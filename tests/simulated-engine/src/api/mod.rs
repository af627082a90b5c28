//! The wire: Ollama's native API, the part of `/v1` that batches need, and the control of the simulation.

mod ask;
mod body;
mod chat;
mod deliver;
mod embed;
mod generate;
mod library;
mod line;
mod models;
mod progress;
mod pull;
mod runner;
mod runner_options;
mod sim;
mod v1;
mod v1_form;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, head, post};

use crate::engine::Engine;

pub(crate) use runner::runner_router;

/// Content type of native answers.
const JSON: &str = "application/json; charset=utf-8";

/// All routes.
pub(crate) fn router(engine: Arc<Engine>) -> Router {
    let max_body = engine.options.max_body;
    Router::new()
        .route("/", get(|| async { "Ollama is running" }))
        .route("/api/version", get(models::version))
        .route("/api/tags", get(models::tags))
        .route("/api/ps", get(models::ps))
        .route("/api/show", post(models::show))
        .route("/api/chat", post(chat::chat))
        .route("/api/generate", post(generate::generate))
        .route("/api/embed", post(embed::embed))
        .route("/api/create", post(library::create))
        .route("/api/copy", post(library::copy))
        .route("/api/delete", delete(library::delete))
        .route("/api/pull", post(pull::pull))
        .route("/v1/models", get(v1::models))
        .route("/v1/chat/completions", post(v1::chat))
        .route("/v1/completions", post(v1::completions))
        .route("/v1/embeddings", post(embed::v1_embeddings))
        .route("/sim/faults", post(sim::add_faults).delete(sim::clear_faults))
        .route("/sim/stats", get(sim::stats))
        .route("/sim/reset", post(sim::reset))
        .route("/sim/crash", post(sim::crash))
        .route("/sim/freeze", post(sim::freeze))
        .route("/sim/thaw", post(sim::thaw))
        .route("/sim/deadlock", post(sim::deadlock))
        .route("/sim/release", post(sim::release))
        .route("/sim/exit", post(sim::exit))
        .method_not_allowed_fallback(|| async {
            plain(StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed")
        })
        .fallback(|| async { plain(StatusCode::NOT_FOUND, "404 page not found") })
        .layer(DefaultBodyLimit::max(max_body))
        // A model's file is hashed as it comes, whatever its length.
        .route("/api/blobs/{digest}", head(library::has_blob).post(library::add_blob))
        .with_state(engine)
}

/// A body of JSON.
fn json(status: u16, content_type: &'static str, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, content_type)], body).into_response()
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain")], text).into_response()
}
