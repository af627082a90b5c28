//! The HTTP port: the OpenAI-compatible facade, liveness and readiness.

mod batch;
mod batches;
mod caller;
mod coding;
mod content;
pub(crate) mod cors;
mod create;
mod error;
mod events;
mod file;
mod files;
mod health;
mod json;
mod models;
pub mod multipart;
mod openapi;
mod pages;
mod query;
mod range;
mod route;
mod segment;
mod upload;

use std::time::Duration;

use axum::{
    Router,
    http::{Method, Uri},
    middleware::from_fn_with_state,
    response::IntoResponse as _,
};
use caravan_service::{
    Shutdown,
    connection::{self, Port},
    listen::Bound,
    serve::overloaded,
    tls::Protocol,
};
use tonic::Request;

use self::caller::Caller;
pub(crate) use self::{caller::Gate, pages::Pages};
use crate::{upstream::Upstream, watches::Watches};

#[derive(Clone)]
struct Rest {
    planner: Upstream,
    watches: Watches,
    /// Longest time of a call, and of a client's silence.
    timeout: Duration,
    /// How long a planner is looked for with which a download can go on.
    resume: Duration,
    shutdown: Shutdown,
}

/// The routes, with `gate` before those that not anybody may ask for.
pub(crate) fn router(
    planner: Upstream,
    watches: Watches,
    gate: &Gate,
    timeout: Duration,
    resume: Duration,
    shutdown: Shutdown,
) -> Router {
    route::router(gate)
        .fallback(|method: Method, uri: Uri| async move { error::Error::no_such_path(&method, &uri) })
        .method_not_allowed_fallback(|| async { error::Error::method_not_allowed() })
        .layer(from_fn_with_state(gate.pages.clone(), pages::admit))
        .layer(cors::layer(gate.pages.origins()))
        .with_state(Rest { planner, watches, timeout, resume, shutdown })
}

/// Serves until `shutdown`, and then no longer than its drain limit.
pub(crate) async fn serve(bound: Bound, router: Router, options: &connection::Options, shutdown: Shutdown) {
    let overloaded = || error::Error::from(overloaded()).into_response();
    let port = Port { bound, protocol: Protocol::Http, service: router, overloaded };
    tokio::select! {
        () = connection::serve(port, options, shutdown.cancelled()) => {}
        () = shutdown.expired() => {}
    }
}

impl Rest {
    /// `message` in the name of `caller`, answered within the port's time limit.
    fn request<T>(&self, caller: &Caller, message: T) -> Request<T> {
        caller.request(message, self.timeout)
    }
}
