//! The server stack: every gRPC server of Caravan has health, reflection, a span and a
//! deadline per call, keepalive, and a shutdown that ends in bounded time.

mod body;
mod call;
mod deadline;
mod help;
mod inbound;
mod open;
#[cfg(test)]
pub(crate) mod tests;
mod unread;

use std::{convert::Infallible, time::Duration};

use caravan_proto::error::Reason;
use http::{Request, Response};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body, server::NamedService, service::RoutesBuilder};
use tonic_health::{
    ServingStatus,
    server::{HealthReporter, health_reporter},
};
use tower::{Layer as _, Service, ServiceExt as _};

pub use crate::connection::Options;
use crate::{
    connection::{self, Inbound, Port},
    identity::Guard,
    listen::Bound,
    shutdown::Shutdown,
    tls::Protocol,
};

/// Why a server ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The descriptors cannot be reflected.
    #[error("reflection cannot be built")]
    Reflection(#[from] tonic_reflection::server::Error),
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
/// When those who found the server with too many calls may try again.
const OVERLOADED: Duration = Duration::from_secs(1);

/// Serves until `shutdown`, then lets calls end until its drain limit, then ends the rest
/// with UNAVAILABLE. Handlers of endless streams should end them at `shutdown` themselves.
/// Dropping the future ends all connections.
///
/// # Errors
/// If the stack cannot be built.
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
    routes
        .add_service(health_service.max_decoding_message_size(open::MESSAGE_BYTES))
        .add_service(reflection.build_v1()?.max_decoding_message_size(open::MESSAGE_BYTES));

    let cut = CancellationToken::new();
    let told = Told { health, names };
    told.tell(fit.as_ref().is_none_or(|fit| *fit.borrow())).await;
    let stopping = async {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = told.follow(fit) => {}
        }
        told.tell(false).await;
    };
    let service = unread::layer().layer(guard.layer(routes.routes().prepare()));
    let service = open::layer(options.max_open_calls()).layer(service);
    let service = call::layer(cut.clone()).layer(service);
    let service = help::layer(&options.error_help_url).layer(service);
    let service = service.map_request(|request: Request<Inbound>| request.map(Body::new));
    let port = Port { bound, protocol: Protocol::Grpc, service, overloaded: || overloaded().into_http() };
    let serving = connection::serve(port, options, stopping);
    let bounded = async {
        shutdown.expired().await;
        cut.cancel();
        tokio::time::sleep(CLOSING).await;
    };
    tokio::select! {
        () = serving => {}
        () = bounded => tracing::warn!("calls were cut off at the drain limit"),
    }
    Ok(())
}

/// The answer where there are as many calls as there may be.
#[must_use]
pub fn overloaded() -> Status {
    let message = "the server has as many calls as it takes, in all or from one address; try again";
    Reason::Unavailable.retry_after(message, OVERLOADED)
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
