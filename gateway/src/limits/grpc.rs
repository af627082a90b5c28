//! Limits before a gRPC service.

use std::{
    collections::HashSet,
    convert::Infallible,
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll},
};

use axum::http::{Request, Response};
use caravan_service::identity::Principal;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::{body::Body, server::NamedService};
use tower::Service;

use super::Limits;

/// Paths of the methods that stream, either way.
pub(super) static STREAMS: LazyLock<HashSet<String>> = LazyLock::new(|| {
    // It is our own, and reflected too.
    let protos = FileDescriptorSet::decode(caravan_proto::DESCRIPTORS).unwrap_or_default();
    let services =
        protos.file.iter().flat_map(|file| file.service.iter().map(move |service| (file, service)));
    let methods = services.flat_map(|(file, service)| {
        let streams =
            service.method.iter().filter(|method| method.client_streaming() || method.server_streaming());
        streams.map(move |method| format!("/{}.{}/{}", file.package(), service.name(), method.name()))
    });
    methods.collect()
});

/// A service that takes no more calls of a tenant than that may make. It stands behind the guard, which says
/// whose a call is.
#[derive(Debug, Clone)]
pub(crate) struct Limited<S> {
    inner: S,
    limits: Limits,
}

// === impl Limited ===

impl<S> Limited<S> {
    pub(crate) fn new(inner: S, limits: &Limits) -> Self {
        Self { inner, limits: limits.clone() }
    }
}

impl<S: NamedService> NamedService for Limited<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Limited<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let principal = request.extensions().get().cloned().unwrap_or_else(Principal::anybody);
        let admitted = match self.limits.admit(&principal.tenant, STREAMS.contains(request.uri().path())) {
            Ok(admitted) => admitted,
            Err(status) => return Box::pin(std::future::ready(Ok(status.into_http()))),
        };
        let answer = self.inner.call(request.map(|body| admitted.reads(body, Body::new)));
        Box::pin(async move { Ok(answer.await?.map(|body| admitted.answers(body, Body::new))) })
    }
}
