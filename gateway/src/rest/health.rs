//! Liveness and readiness, for whatever watches the process.

use axum::{extract::State, http::StatusCode};
use tonic::Status;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::{Caller, Rest};
use crate::upstream::failure;

/// The process serves HTTP.
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// Ready while the planner answers and nobody asked the gateway to stop.
pub(super) async fn ready(
    State(rest): State<Rest>,
    caller: Caller,
) -> Result<&'static str, (StatusCode, String)> {
    let not_ready = |why: &str| (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"));
    if rest.shutdown.is_triggered() {
        return Err(not_ready("stopping"));
    }
    let asked = HealthClient::new(rest.planner.planners().clone())
        .check(rest.request(&caller, HealthCheckRequest::default()))
        .await;
    let status: Result<ServingStatus, Status> = asked.map(|answer| answer.get_ref().status());
    match status.map_err(failure) {
        Ok(ServingStatus::Serving) => Ok("ready\n"),
        Ok(_) => Err(not_ready("the planner does not serve")),
        Err(status) => Err(not_ready(status.message())),
    }
}
