//! What a process tells of itself: lines on stderr, and, if an OTLP endpoint is
//! configured, traces and metrics. Prompts and answers are never logged, at no level:
//! events carry names, numbers and reasons only.

use std::io::{self, IsTerminal as _};

use opentelemetry::{
    Context, global,
    propagation::{Extractor, Injector},
    trace::TracerProvider as _,
};
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource, metrics::SdkMeterProvider, propagation::TraceContextPropagator, trace::SdkTracerProvider,
};
use tonic::metadata::{AsciiMetadataKey, MetadataMap};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};
use url::Url;

use crate::config;

/// How a process tells.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// How lines on stderr look.
    pub format: Format,
    /// Which events, in the syntax of `RUST_LOG`, which wins over it.
    pub filter: String,
    /// OTLP collector over gRPC, e.g. `http://127.0.0.1:4317`. Absent: nothing is exported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp_endpoint: Option<Url>,
}

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people; in colour on a terminal unless `NO_COLOR` is set.
    #[default]
    Text,
    /// One object a line.
    Json,
}

/// Why telemetry did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `filter` or `RUST_LOG` is malformed.
    #[error("bad log filter `{filter}`: expected e.g. `info,caravan_planner=debug`")]
    Filter {
        /// As given.
        filter: String,
        /// Why.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The exporter cannot be built.
    #[error("cannot export to the OTLP endpoint")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// Another subscriber is in place.
    #[error("telemetry was started twice in this process")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Flushes what is still to be exported when dropped; keep it until the end of `main`.
#[derive(Debug, Default)]
#[must_use = "telemetry ends when the guard is dropped"]
pub struct Guard {
    traces: Option<SdkTracerProvider>,
    metrics: Option<SdkMeterProvider>,
}

/// Starts telemetry for the whole process, known as `caravan-<role>`. Call it once, inside
/// the runtime.
///
/// # Errors
/// If the filter is malformed, the endpoint unusable, or telemetry runs already.
pub fn init(role: &'static str, options: &Options) -> Result<Guard, Error> {
    global::set_text_map_propagator(TraceContextPropagator::new());
    let filter = std::env::var("RUST_LOG").ok().filter(|v| !v.is_empty()).unwrap_or(options.filter.clone());
    let filter = EnvFilter::try_new(&filter).map_err(|source| Error::Filter { filter, source })?;
    let guard =
        options.otlp_endpoint.as_ref().map_or(Ok(Guard::default()), |url| Guard::exporting(role, url))?;
    let spans = guard.traces.as_ref().map(|p| tracing_opentelemetry::layer().with_tracer(p.tracer(role)));
    tracing_subscriber::registry().with(filter).with(spans).with(lines(options.format)).try_init()?;
    Ok(guard)
}

/// Puts the current trace into the metadata of a call (W3C `traceparent`), if there is one.
pub fn inject(metadata: &mut MetadataMap) {
    let context = Span::current().context();
    global::get_text_map_propagator(|propagator| propagator.inject_context(&context, &mut Carrier(metadata)));
}

/// The trace that a call's headers carry (W3C `traceparent`), for `Span::set_parent`.
#[must_use]
pub fn extract(headers: &http::HeaderMap) -> Context {
    global::get_text_map_propagator(|propagator| propagator.extract(&Headers(headers)))
}

fn lines<S>(format: Format) -> Box<dyn tracing_subscriber::Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty()) || !io::stderr().is_terminal();
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(!plain);
    match format {
        Format::Text => layer.boxed(),
        Format::Json => layer.json().boxed(),
    }
}

struct Carrier<'a>(&'a mut MetadataMap);
struct Headers<'a>(&'a http::HeaderMap);

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self { format: Format::Text, filter: "info".to_owned(), otlp_endpoint: None }
    }
}

impl Options {
    /// What serde cannot check; `section` is where the options stand in the file.
    ///
    /// # Errors
    /// If `filter` is malformed.
    pub fn check(&self, section: &str) -> Result<(), config::Error> {
        let is_known = EnvFilter::try_new(&self.filter).is_ok();
        config::check(
            is_known,
            &format!("{section}.filter"),
            "as RUST_LOG, e.g. `info,caravan_planner=debug`",
        )
    }
}

// === impl Guard ===

impl Guard {
    fn exporting(role: &'static str, endpoint: &Url) -> Result<Self, Error> {
        let resource = Resource::builder().with_service_name(format!("caravan-{role}")).build();
        let spans = SpanExporter::builder().with_tonic().with_endpoint(endpoint.as_str()).build()?;
        let traces =
            SdkTracerProvider::builder().with_resource(resource.clone()).with_batch_exporter(spans).build();
        let numbers = MetricExporter::builder().with_tonic().with_endpoint(endpoint.as_str()).build()?;
        let metrics =
            SdkMeterProvider::builder().with_resource(resource).with_periodic_exporter(numbers).build();
        global::set_tracer_provider(traces.clone());
        global::set_meter_provider(metrics.clone());
        Ok(Self { traces: Some(traces), metrics: Some(metrics) })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // The process ends: an exporter that fails now has nobody left to tell but stderr.
        for error in [
            self.traces.as_ref().and_then(|p| p.shutdown().err()),
            self.metrics.as_ref().and_then(|p| p.shutdown().err()),
        ]
        .into_iter()
        .flatten()
        {
            eprintln!("telemetry: {error}");
        }
    }
}

// === impl Carrier, Headers ===

impl Injector for Carrier<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(key), Ok(value)) = (key.parse::<AsciiMetadataKey>(), value.parse()) {
            self.0.insert(key, value);
        }
    }
}

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::{propagation::TextMapPropagator as _, trace::TraceContextExt as _};

    use super::*;

    #[test]
    fn a_trace_survives_the_wire() {
        let propagator = TraceContextPropagator::new();
        let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let mut headers = http::HeaderMap::new();
        headers.insert("traceparent", http::HeaderValue::from_static(traceparent));
        let context = propagator.extract(&Headers(&headers));
        assert!(context.span().span_context().is_valid());

        let mut metadata = MetadataMap::new();
        propagator.inject_context(&context, &mut Carrier(&mut metadata));
        assert_eq!(metadata.get("traceparent").map(|v| v.as_bytes()), Some(traceparent.as_bytes()));
    }

    #[test]
    fn a_malformed_filter_is_named() {
        let options = Options { filter: "caravan=loud".into(), ..Options::default() };
        // Fails before anything global is set but the propagator.
        let error = init("test", &options).expect_err("no such level").to_string();
        assert!(error.contains("caravan=loud"), "{error}");
    }
}
