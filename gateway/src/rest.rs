//! The HTTP port: the OpenAI-compatible facade, liveness and readiness.

mod batch;
pub(crate) mod cors;
mod error;
mod events;

use std::{io, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use caravan_proto::{name::BatchId, v1::GetBatchRequest};
use caravan_service::Shutdown;
use tokio::net::TcpListener;
use tonic::{Request, Status};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use url::Url;

use crate::{
    upstream::{Upstream, failure},
    watches::Watches,
};

#[derive(Clone)]
struct Rest {
    planner: Upstream,
    watches: Watches,
    timeout: Duration,
    shutdown: Shutdown,
}

/// The routes; pages of `origins` may call them.
pub(crate) fn router(
    planner: Upstream,
    watches: Watches,
    origins: &[Url],
    timeout: Duration,
    shutdown: Shutdown,
) -> Router {
    Router::new()
        .route("/v1/batches/{id}", get(get_batch))
        .route("/v1/batches/{id}/events", get(events::get))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .fallback(|| async { error::Error::no_such_path() })
        .method_not_allowed_fallback(|| async { error::Error::method_not_allowed() })
        .layer(cors::layer(origins))
        .with_state(Rest { planner, watches, timeout, shutdown })
}

/// Serves until `shutdown`, and then no longer than its drain limit.
pub(crate) async fn serve(listener: TcpListener, router: Router, shutdown: Shutdown) -> io::Result<()> {
    let stopping = shutdown.token().cancelled_owned();
    let serving = axum::serve(listener, router).with_graceful_shutdown(stopping).into_future();
    tokio::select! {
        ended = serving => ended,
        () = shutdown.expired() => Ok(()),
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
