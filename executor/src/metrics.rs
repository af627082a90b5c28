//! What the executor counts: names, units and help texts, in one place.

use std::{sync::LazyLock, time::Duration};

use caravan_proto::v1::{Gpu, Usage};
use caravan_service::metrics::Metric;
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge, Histogram},
};

const REQUESTS: Metric =
    Metric::new("caravan.executor.requests", "{request}", "requests that ended, by `outcome`");
const REQUEST_SECONDS: Metric =
    Metric::new("caravan.executor.request.duration", "s", "from a request's first try to its end");
const REPEATS: Metric =
    Metric::new("caravan.executor.repeats", "{try}", "tries that failed and were repeated, by `class`");
const TOKENS: Metric =
    Metric::new("caravan.executor.tokens", "{token}", "tokens of answered requests, by `kind`");
const LOADS: Metric = Metric::new("caravan.executor.loads", "{load}", "loads of a model, by `ok`");
const LOAD_SECONDS: Metric = Metric::new("caravan.executor.load.duration", "s", "time of a load");
const CHUNKS: Metric = Metric::new("caravan.executor.chunks", "{chunk}", "chunks that left a lane, by `end`");
const RESTARTS: Metric = Metric::new(
    "caravan.executor.conversation.restarts",
    "{restart}",
    "conversations begun anew because the context was full",
);
const PREFIX_TOKENS: Metric = Metric::new(
    "caravan.executor.prefix.tokens",
    "{token}",
    "prompt tokens that a lane had sent before, by `found` in the cache or not; only where that can be told",
);
const STUCK: Metric = Metric::new(
    "caravan.executor.engine.stuck",
    "{time}",
    "times that an engine answered about itself and no request",
);
const MENDED: Metric = Metric::new(
    "caravan.executor.engine.mended",
    "{load}",
    "loads of a model to mend its engine, by `reason`",
);
const SLOTS_MISSING: Metric = Metric::new(
    "caravan.executor.slots.missing",
    "{slot}",
    "slots that were found not to run when requests waited for them",
);
const CONNECTS: Metric =
    Metric::new("caravan.executor.connects", "{connect}", "streams to a planner that were opened");
const ENGINE_STARTS: Metric =
    Metric::new("caravan.executor.engine.starts", "{start}", "starts of managed engines, by `ok`");
const ENGINE_ENDS: Metric =
    Metric::new("caravan.executor.engine.ends", "{end}", "ends of managed engines, by `cause`");

const VRAM_USED: Metric = Metric::new("caravan.executor.vram.used", "By", "VRAM in use, by `gpu`");
const VRAM_TOTAL: Metric = Metric::new("caravan.executor.vram.total", "By", "VRAM in all, by `gpu`");
const VRAM_CEILING: Metric =
    Metric::new("caravan.executor.vram.ceiling", "By", "VRAM that may be in use, by `gpu`");
const VRAM_TAKEN: Metric = Metric::new(
    "caravan.executor.vram.taken",
    "By",
    "VRAM that processes take, by `gpu` and `engine`, which is `foreign` for processes of none",
);
const VRAM_CROSSINGS: Metric = Metric::new(
    "caravan.executor.vram.crossings",
    "{crossing}",
    "times that an engine's GPU rose above the ceiling, by `cause`",
);

struct Instruments {
    requests: Counter<u64>,
    request_seconds: Histogram<f64>,
    repeats: Counter<u64>,
    tokens: Counter<u64>,
    loads: Counter<u64>,
    load_seconds: Histogram<f64>,
    chunks: Counter<u64>,
    restarts: Counter<u64>,
    prefix_tokens: Counter<u64>,
    stuck: Counter<u64>,
    mended: Counter<u64>,
    slots_missing: Counter<u64>,
    connects: Counter<u64>,
    vram_used: Gauge<f64>,
    vram_total: Gauge<f64>,
    vram_ceiling: Gauge<f64>,
    vram_taken: Gauge<f64>,
    vram_crossings: Counter<u64>,
    engine_starts: Counter<u64>,
    engine_ends: Counter<u64>,
}

static INSTRUMENTS: LazyLock<Instruments> = LazyLock::new(|| Instruments {
    requests: REQUESTS.counter(),
    request_seconds: REQUEST_SECONDS.histogram(),
    repeats: REPEATS.counter(),
    tokens: TOKENS.counter(),
    loads: LOADS.counter(),
    load_seconds: LOAD_SECONDS.histogram(),
    chunks: CHUNKS.counter(),
    restarts: RESTARTS.counter(),
    prefix_tokens: PREFIX_TOKENS.counter(),
    stuck: STUCK.counter(),
    mended: MENDED.counter(),
    slots_missing: SLOTS_MISSING.counter(),
    connects: CONNECTS.counter(),
    vram_used: VRAM_USED.gauge(),
    vram_total: VRAM_TOTAL.gauge(),
    vram_ceiling: VRAM_CEILING.gauge(),
    vram_taken: VRAM_TAKEN.gauge(),
    vram_crossings: VRAM_CROSSINGS.counter(),
    engine_starts: ENGINE_STARTS.counter(),
    engine_ends: ENGINE_ENDS.counter(),
});

/// A request ended as `outcome` after `elapsed`.
pub(crate) fn request_ended(outcome: &'static str, elapsed: Duration) {
    INSTRUMENTS.requests.add(1, &[KeyValue::new("outcome", outcome)]);
    INSTRUMENTS.request_seconds.record(elapsed.as_secs_f64(), &[]);
}

/// A try failed as `class` and is repeated.
pub(crate) fn repeated(class: &'static str) {
    INSTRUMENTS.repeats.add(1, &[KeyValue::new("class", class)]);
}

/// Tokens of an answered request.
pub(crate) fn tokens(usage: &Usage) {
    let kinds = [
        ("evaluated", usage.evaluated_tokens),
        ("cached", usage.cached_tokens),
        ("completion", usage.completion_tokens),
    ];
    for (kind, tokens) in kinds {
        INSTRUMENTS.tokens.add(u64::try_from(tokens).unwrap_or(0), &[KeyValue::new("kind", kind)]);
    }
}

/// A model was loaded, or not.
pub(crate) fn loaded(ok: bool, elapsed: Duration) {
    INSTRUMENTS.loads.add(1, &[KeyValue::new("ok", ok)]);
    INSTRUMENTS.load_seconds.record(elapsed.as_secs_f64(), &[]);
}

/// A chunk left its lane.
pub(crate) fn chunk_ended(end: &'static str) {
    INSTRUMENTS.chunks.add(1, &[KeyValue::new("end", end)]);
}

/// A conversation began anew.
pub(crate) fn conversation_restarted() {
    INSTRUMENTS.restarts.add(1, &[]);
}

/// Of `shared` tokens that a slot should have held, `cached` were there.
pub(crate) fn prefix(cached: u64, shared: u64) {
    let count = |tokens, found: bool| INSTRUMENTS.prefix_tokens.add(tokens, &[KeyValue::new("found", found)]);
    count(cached, true);
    count(shared.saturating_sub(cached), false);
}

/// An engine got stuck.
pub(crate) fn stuck() {
    INSTRUMENTS.stuck.add(1, &[]);
}

/// A model was loaded anew to mend its engine.
pub(crate) fn mended(reason: &'static str) {
    INSTRUMENTS.mended.add(1, &[KeyValue::new("reason", reason)]);
}

/// So many slots were found not to run.
pub(crate) fn slots_missing(slots: u32) {
    INSTRUMENTS.slots_missing.add(u64::from(slots), &[]);
}

/// A stream to a planner was opened.
pub(crate) fn connected() {
    INSTRUMENTS.connects.add(1, &[]);
}

/// A managed engine was started and answers, or not.
pub(crate) fn engine_started(ok: bool) {
    INSTRUMENTS.engine_starts.add(1, &[KeyValue::new("ok", ok)]);
}

/// A managed engine ended, for this `cause`.
pub(crate) fn engine_ended(cause: &'static str) {
    INSTRUMENTS.engine_ends.add(1, &[KeyValue::new("cause", cause)]);
}

/// What is in use of a GPU, as far as it is known: what is not known is not exported.
pub(crate) fn vram(gpu: &Gpu, ceiling: Option<u64>, engines: &[&str]) {
    let of_gpu = || KeyValue::new("gpu", gpu.index.to_string());
    let total = gpu.vram_total_bytes;
    let ceiling = ceiling.and_then(|ceiling| i64::try_from(ceiling).ok());
    for (gauge, bytes) in [
        (&INSTRUMENTS.vram_used, gpu.vram_used_bytes),
        (&INSTRUMENTS.vram_total, total),
        (&INSTRUMENTS.vram_ceiling, ceiling),
    ] {
        if let Some(bytes) = bytes {
            gauge.record(float(bytes), &[of_gpu()]);
        }
    }
    for engine in engines.iter().copied().chain([""]) {
        let taken = gpu.processes.iter().filter(|process| process.engine == engine);
        if let Some(bytes) = taken.map(|process| process.vram_bytes).sum::<Option<i64>>() {
            let engine = if engine.is_empty() { "foreign" } else { engine };
            let engine = KeyValue::new("engine", engine.to_owned());
            INSTRUMENTS.vram_taken.record(float(bytes), &[of_gpu(), engine]);
        }
    }
}

/// A GPU of an engine rose above the ceiling because of `cause`.
pub(crate) fn vram_crossed(cause: &'static str) {
    INSTRUMENTS.vram_crossings.add(1, &[KeyValue::new("cause", cause)]);
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floats; a byte of petabytes does not matter")]
fn float(bytes: i64) -> f64 {
    bytes as f64
}
