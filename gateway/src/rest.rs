//! The HTTP port: the OpenAI-compatible facade, liveness and readiness.

mod batch;
mod error;

use std::time::Duration;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use caravan_proto::{name::BatchId, v1::GetBatchRequest};
use caravan_service::{
    Shutdown,
    connection::{self, Port},
    listen::Bound,
    serve::overloaded,
    tls::Protocol,
};
use tonic::{Request, Status};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::upstream::{Upstream, failure};

#[derive(Clone)]
struct Rest {
    planner: Upstream,
    timeout: Duration,
    shutdown: Shutdown,
}

/// The routes.
pub(crate) fn router(planner: Upstream, timeout: Duration, shutdown: Shutdown) -> Router {
    Router::new()
        .route("/v1/batches/{id}", get(get_batch))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .fallback(|| async { error::Error::no_such_path() })
        .method_not_allowed_fallback(|| async { error::Error::method_not_allowed() })
        .with_state(Rest { planner, timeout, shutdown })
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

async fn get_batch(State(rest): State<Rest>, Path(id): Path<String>) -> Result<Response, error::Error> {
    // OpenAI answers an id that cannot exist as one that does not.
    let id: BatchId = id.parse().map_err(|_| error::Error::no_such_batch(&id))?;
    let request = rest.bounded(GetBatchRequest { name: id.name() });
    let batch = rest.planner.batches().get_batch(request).await.map_err(failure)?;
    Ok(Json(batch::object(batch.get_ref())).into_response())
}

/// Ready while the planner answers and nobody asked the gateway to stop.
async fn ready(State(rest): State<Rest>) -> Result<&'static str, (StatusCode, String)> {
    let not_ready = |why: String| (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"));
    if rest.shutdown.is_triggered() {
        return Err(not_ready("stopping".to_owned()));
    }
    let asked = HealthClient::new(rest.planner.planners().clone())
        .check(rest.bounded(HealthCheckRequest::default()))
        .await;
    let status: Result<ServingStatus, Status> = asked.map(|answer| answer.get_ref().status());
    match status.map_err(failure) {
        Ok(ServingStatus::Serving) => Ok("ready\n"),
        Ok(_) => Err(not_ready("the planner does not serve".to_owned())),
        Err(status) => Err(not_ready(status.message().to_owned())),
    }
}

impl Rest {
    fn bounded<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        request
    }
}
