//! The HTTP port: the OpenAI-compatible facade, liveness and readiness.

mod batch;
mod batches;
mod caller;
mod error;
mod health;
mod route;

use std::{io, time::Duration};

use axum::Router;
use caravan_service::{Shutdown, identity::Guard};
use tokio::net::TcpListener;
use tonic::Request;

use self::caller::Caller;
use crate::upstream::Upstream;

#[derive(Clone)]
struct Rest {
    planner: Upstream,
    timeout: Duration,
    shutdown: Shutdown,
}

/// The routes.
pub(crate) fn router(planner: Upstream, guard: &Guard, timeout: Duration, shutdown: Shutdown) -> Router {
    route::router(guard)
        .fallback(|| async { error::Error::no_such_path() })
        .method_not_allowed_fallback(|| async { error::Error::method_not_allowed() })
        .with_state(Rest { planner, timeout, shutdown })
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

impl Rest {
    /// `message` in the name of `caller`, answered within the port's time limit.
    fn request<T>(&self, caller: &Caller, message: T) -> Request<T> {
        caller.request(message, self.timeout)
    }
}
