//! The server stack: every gRPC server of Caravan has health, reflection, a span and a
//! deadline per call, keepalive, and a shutdown that ends in bounded time.

mod body;
mod call;
mod deadline;
mod inbound;
#[cfg(test)]
mod tests;

use std::{convert::Infallible, time::Duration};

use http::{Request, Response};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{body::Body, server::NamedService, service::RoutesBuilder, transport::Server};
use tonic_health::{
    ServingStatus,
    server::{HealthReporter, health_reporter},
};
use tower::Service;

use crate::{identity::Guard, listen::Bound, shutdown::Shutdown};

/// Bounds of a server.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Calls at once on one connection. A gateway carries all its clients over one.
    pub max_concurrent_streams: u32,
    /// A silent connection is probed after so many seconds.
    pub keepalive_seconds: u64,
    /// A probe unanswered for so many seconds ends the connection.
    pub keepalive_timeout_seconds: u64,
}

/// Why a server ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The descriptors cannot be reflected.
    #[error("reflection cannot be built")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The transport failed.
    #[error("gRPC server failed")]
    Transport(#[from] tonic::transport::Error),
}

/// The services of one server. Set message limits on each before it goes in.
#[derive(Debug, Default)]
pub struct Services {
    routes: RoutesBuilder,
    names: Vec<&'static str>,
    fit: Option<watch::Receiver<bool>>,
    guard: Guard,
}

/// How long connections may take to close once every call on them was ended.
const CLOSING: Duration = Duration::from_millis(500);

/// Serves until `shutdown`, then lets calls end until its drain limit, then ends the rest
/// with UNAVAILABLE. Handlers of endless streams should end them at `shutdown` themselves.
/// Dropping the future stops accepting; open connections live on.
///
/// # Errors
/// If the stack cannot be built or the transport fails.
pub async fn serve(
    bound: Bound,
    services: Services,
    options: &Options,
    shutdown: Shutdown,
) -> Result<(), Error> {
    let Services { mut routes, names, fit, guard } = services;
    let (health, health_service) = health_reporter();
    let mut reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(caravan_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
    for name in names.iter().chain(&["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"]) {
        reflection = reflection.with_service_name(*name);
    }
    routes.add_service(health_service).add_service(reflection.build_v1()?);

    let cut = CancellationToken::new();
    let keepalive = Duration::from_secs(options.keepalive_seconds);
    let told = Told { health, names };
    told.tell(fit.as_ref().is_none_or(|fit| *fit.borrow())).await;
    let stopping = {
        let shutdown = shutdown.clone();
        async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = told.follow(fit) => {}
            }
            told.tell(false).await;
        }
    };
    let serving = Server::builder()
        .max_concurrent_streams(options.max_concurrent_streams)
        .http2_keepalive_interval(Some(keepalive))
        .http2_keepalive_timeout(Some(Duration::from_secs(options.keepalive_timeout_seconds)))
        .layer(call::layer(cut.clone()))
        .layer(guard)
        .add_routes(routes.routes())
        .serve_with_incoming_shutdown(incoming(bound, keepalive), stopping);
    let bounded = async {
        shutdown.expired().await;
        cut.cancel();
        tokio::time::sleep(CLOSING).await;
    };
    tokio::select! {
        ended = serving => ended?,
        () = bounded => tracing::warn!("calls were cut off at the drain limit"),
    }
    Ok(())
}

/// What clients are told of the server's health.
struct Told {
    health: HealthReporter,
    names: Vec<&'static str>,
}

// === impl Told ===

impl Told {
    async fn tell(&self, serves: bool) {
        let status = if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in self.names.iter().chain(&[""]) {
            self.health.set_service_status(name, status).await;
        }
    }

    /// Tells every change, for ever.
    async fn follow(&self, fit: Option<watch::Receiver<bool>>) {
        if let Some(mut fit) = fit {
            while fit.changed().await.is_ok() {
                let serves = *fit.borrow_and_update();
                self.tell(serves).await;
            }
        }
        std::future::pending().await
    }
}

/// tonic sets no socket options on connections that it did not accept itself.
fn incoming(bound: Bound, keepalive: Duration) -> tonic::transport::server::TcpIncoming {
    tonic::transport::server::TcpIncoming::from(bound.into_listener())
        .with_nodelay(Some(true))
        .with_keepalive(Some(keepalive))
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        // 20 s of silence is under the idle limits of the usual load balancers (60 s and up).
        Self { max_concurrent_streams: 16_384, keepalive_seconds: 20, keepalive_timeout_seconds: 20 }
    }
}

// === impl Services ===

impl Services {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells clients that the server does not serve while `fit` is false: they go elsewhere, if there is
    /// an elsewhere. Calls are answered all the same.
    #[must_use]
    pub fn serving_while(mut self, fit: watch::Receiver<bool>) -> Self {
        self.fit = Some(fit);
        self
    }

    /// Has `guard` stand before every call, in place of one that asks nobody.
    #[must_use]
    pub fn guarded_by(mut self, guard: Guard) -> Self {
        self.guard = guard;
        self
    }

    /// Adds a service; it shows in reflection and health under its name.
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "nobody adds servers with a plus sign")]
    pub fn add<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        self.names.push(S::NAME);
        self.routes.add_service(service);
        self
    }
}
