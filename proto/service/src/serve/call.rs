//! One call as the stack sees it: a span in the caller's trace, a deadline, a panic
//! caught, and a record of how it ended.

use std::{
    convert::Infallible,
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll},
};

use caravan_proto::{access, error::Reason};
use futures::FutureExt as _;
use http::{HeaderMap, Request, Response};
use opentelemetry::{KeyValue, metrics::Histogram};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service, layer::layer_fn};
use tracing::{Instrument as _, Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::{
    body::{Cut, Supervised},
    deadline,
    inbound::Inbound,
};
use crate::{identity::is_open, metrics::Metric, telemetry};

/// Time from the head of a call to the end of its answer.
const DURATION: Metric =
    Metric::new("caravan.rpc.duration", "s", "duration of a gRPC call, by method and code");

/// Clients try elsewhere, or here again when the process is back.
const RETRY: Duration = Duration::from_secs(1);

/// Supervises every call; `cut` ends them all.
pub(super) fn layer<S>(cut: CancellationToken) -> impl Layer<S, Service = Supervisor<S>> + Clone {
    let duration = DURATION.histogram();
    layer_fn(move |inner| Supervisor { inner, cut: cut.clone(), duration: duration.clone() })
}

/// Wraps the router.
#[derive(Clone)]
pub(super) struct Supervisor<S> {
    inner: S,
    cut: CancellationToken,
    duration: Histogram<f64>,
}

/// What is known of a call; told once, when it ends or its client goes away.
pub(super) struct Record {
    span: Span,
    method: String,
    began: Instant,
    duration: Histogram<f64>,
    code: Option<Code>,
}

/// The code in headers or trailers, if they hold one.
pub(super) fn code(headers: &HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(|value| Code::from_bytes(value.as_bytes()))
}

/// The answer to a handler's panic. The panic hook has said the rest on stderr.
pub(super) fn panicked() -> Status {
    tracing::error!("a handler panicked");
    Reason::Internal.status("a defect of the server; its log has the rest")
}

fn cut_off(cut: CancellationToken, deadline: Option<Instant>) -> Cut {
    Box::pin(async move {
        tokio::select! {
            () = deadline::passed(deadline) => Reason::DeadlineExceeded.status("the call took longer than its deadline allows"),
            () = cut.cancelled() => Reason::Unavailable.retry_after("the server is going away", RETRY),
        }
    })
}

// === impl Supervisor ===

impl<S> Service<Request<Body>> for Supervisor<S>
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

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut record = Record::new(&request, self.duration.clone());
        let mut cut = cut_off(self.cut.clone(), deadline::of(request.headers()));
        // The clone that was polled ready is the one to call.
        let fresh = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        let span = record.span.clone();
        let request = request.map(|body| Body::new(Inbound(body)));
        let answer = async move {
            let handler = AssertUnwindSafe(async move { inner.call(request).await }).catch_unwind();
            let answer = tokio::select! {
                biased;
                answer = handler => answer.map_or_else(|_| Err(panicked()), |Ok(answer)| Ok(answer)),
                status = &mut cut => Err(status),
            };
            let answer = answer.unwrap_or_else(Status::into_http);
            if let Some(code) = code(answer.headers()) {
                record.ended(code);
                return Ok(answer);
            }
            Ok(answer.map(|body| Body::new(Supervised::new(body, cut, record))))
        };
        Box::pin(answer.instrument(span))
    }
}

// === impl Record ===

impl Record {
    fn new<B>(request: &Request<B>, duration: Histogram<f64>) -> Self {
        let path = request.uri().path();
        // An unknown method is the client's text: keep it out of names and labels.
        let is_known = access::needed(path).is_some() || is_open(path);
        let method = if is_known { path.trim_start_matches('/') } else { "unknown" }.to_owned();
        let span = tracing::info_span!(
            "rpc",
            otel.name = method,
            otel.kind = "server",
            rpc.system = "grpc",
            method,
            code = Empty
        );
        // Fails only where no exporter is configured: then there is no trace to join.
        let _ = span.set_parent(telemetry::extract(request.headers()));
        Self { span, method, began: Instant::now(), duration, code: None }
    }

    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    /// The first end counts.
    pub(super) fn ended(&mut self, code: Code) {
        self.code.get_or_insert(code);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        // No end was seen: the client went away.
        let code = self.code.unwrap_or(Code::Cancelled);
        let seconds = self.began.elapsed().as_secs_f64();
        let labels =
            [KeyValue::new("method", self.method.clone()), KeyValue::new("code", format!("{code:?}"))];
        self.duration.record(seconds, &labels);
        self.span.record("code", tracing::field::debug(code));
        let _entered = self.span.enter();
        match code {
            Code::Internal | Code::Unknown | Code::DataLoss => tracing::warn!(?code, seconds, "call failed"),
            _ => tracing::debug!(?code, seconds, "call ended"),
        }
    }
}
