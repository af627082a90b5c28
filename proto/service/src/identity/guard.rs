use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use caravan_proto::{access, error::Reason};
use http::{HeaderMap, Request, Response};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use super::Principal;

/// Services that tell of the server and nothing of what it holds.
const OPEN: [&str; 3] = [
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
    "/grpc.reflection.v1alpha.ServerReflection/",
];

/// Stands before every call of a gRPC server: finds out who makes it, whether they may, and puts the
/// [`Principal`] into the request's extensions. A layer, and cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    /// Whether whoever is named in the metadata is believed: of a gateway, where nobody is asked of anybody.
    believes: bool,
}

/// A service behind a guard.
#[derive(Debug, Clone)]
pub struct Guarded<S> {
    inner: S,
    guard: Guard,
}

// === impl Guard ===

impl Guard {
    /// One of a server that clients call: nobody names anybody else.
    #[must_use]
    pub fn of_clients() -> Self {
        Self { believes: false }
    }

    /// One of a server that gateways call too.
    #[must_use]
    pub fn of_gateways() -> Self {
        Self { believes: true }
    }

    /// Who makes a call with these headers.
    ///
    /// # Errors
    /// UNAUTHENTICATED.
    pub fn identify(&self, headers: &HeaderMap) -> Result<Principal, Status> {
        let caller = Principal::anybody();
        let named = if self.believes { Principal::read(headers) } else { Ok(None) };
        let unreadable = |error: super::Unreadable| Reason::Unauthenticated.status(error.to_string());
        Ok(named.map_err(unreadable)?.unwrap_or(caller))
    }
}

/// Whether somebody may call a method.
///
/// # Errors
/// PERMISSION_DENIED, or UNIMPLEMENTED for a method that is not in the contract.
pub(super) fn authorise(principal: &Principal, path: &str) -> Result<(), Status> {
    // As the protocol has it for what is not there; and nothing is, that has no entry.
    let needed = access::needed(path).ok_or_else(|| Status::unimplemented("there is no such method"))?;
    if !principal.roles.within(needed).is_empty() {
        return Ok(());
    }
    let method = path.rsplit('/').next().unwrap_or_default();
    let message = format!("{method} needs the role {needed}, which whoever calls does not have");
    Err(Reason::PermissionDenied.metadata(message, [("roles", needed.to_string())]))
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, guard: self.clone() }
    }
}

impl<S> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // The clone that was polled ready is the one to call.
        let fresh = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        let guard = self.guard.clone();
        Box::pin(async move {
            let path = request.uri().path();
            if OPEN.iter().any(|service| path.starts_with(service)) {
                return inner.call(request).await;
            }
            let admitted = guard.identify(request.headers()).and_then(|principal| {
                authorise(&principal, path)?;
                Ok(principal)
            });
            match admitted {
                Ok(principal) => {
                    request.extensions_mut().insert(principal);
                    inner.call(request).await
                }
                Err(status) => Ok(status.into_http()),
            }
        })
    }
}
