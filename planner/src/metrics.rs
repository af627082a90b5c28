//! The planner's metrics: every name in one place.

use std::sync::LazyLock;

use caravan_proto::{
    error::Reason,
    v1::{self, batch::State},
};
use caravan_service::metrics::Metric;
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Histogram, UpDownCounter},
};

/// Results made final.
pub const COMMITTED: Metric = Metric::new("caravan.result.committed", "{request}", "Requests made final.");
/// Bytes of segments.
pub const SEGMENT_BYTES: Metric = Metric::new("caravan.segment.bytes", "By", "Bytes of segments written.");
/// Leases given.
pub const LEASED: Metric = Metric::new("caravan.lease.granted", "{lease}", "Leases given to lanes.");
/// Leases expired.
pub const EXPIRED: Metric =
    Metric::new("caravan.lease.expired", "{lease}", "Leases whose holder fell silent.");
/// Batches ended.
pub const ENDED: Metric =
    Metric::new("caravan.batch.ended", "{batch}", "Batches that reached a final state, by `state`.");

/// Plans that came true, or not.
pub const PREDICTED: Metric = Metric::new(
    "caravan.plan.predicted_ratio",
    "1",
    "Predicted over actual, of a completed batch; `figure` is prompt_tokens, output_tokens or seconds.",
);

/// Objects cannot be written.
pub const UNWRITABLE: Metric = Metric::new(
    "caravan.object.unwritable",
    "{planner}",
    "Planners that cannot write objects; `reason` is STORAGE_FULL or STORAGE_DENIED.",
);

/// What was removed.
pub const REMOVED: Metric = Metric::new(
    "caravan.garbage.removed",
    "{thing}",
    "Batches (`why` is retention), uploads (upload) and objects without a row (orphan) that were removed.",
);

struct Instruments {
    removed: Counter<u64>,
    unwritable: UpDownCounter<i64>,
    committed: Counter<u64>,
    segment_bytes: Counter<u64>,
    leased: Counter<u64>,
    expired: Counter<u64>,
    ended: Counter<u64>,
    predicted: Histogram<f64>,
}

static INSTRUMENTS: LazyLock<Instruments> = LazyLock::new(|| Instruments {
    removed: REMOVED.counter(),
    unwritable: UNWRITABLE.up_down_counter(),
    committed: COMMITTED.counter(),
    segment_bytes: SEGMENT_BYTES.counter(),
    leased: LEASED.counter(),
    expired: EXPIRED.counter(),
    ended: ENDED.counter(),
    predicted: PREDICTED.histogram(),
});

pub(crate) fn committed(requests: i64, bytes: u64) {
    INSTRUMENTS.committed.add(requests.unsigned_abs(), &[]);
    INSTRUMENTS.segment_bytes.add(bytes, &[]);
}

pub(crate) fn leased() {
    INSTRUMENTS.leased.add(1, &[]);
}

pub(crate) fn expired(leases: u64) {
    INSTRUMENTS.expired.add(leases, &[]);
}

pub(crate) fn ended(state: State) {
    let state = caravan_proto::json::enum_text(state.as_str_name(), "State");
    INSTRUMENTS.ended.add(1, &[KeyValue::new("state", state)]);
}

pub(crate) fn predicted(report: &v1::Report) {
    let figures = [
        ("prompt_tokens", report.prompt_tokens),
        ("output_tokens", report.output_tokens),
        ("seconds", report.seconds),
    ];
    for (figure, prediction) in figures {
        if let Some(prediction) = prediction.filter(|prediction| prediction.ratio > 0.0) {
            INSTRUMENTS.predicted.record(prediction.ratio, &[KeyValue::new("figure", figure)]);
        }
    }
}

pub(crate) fn unwritable(reason: Reason, is_so: bool) {
    let one = if is_so { 1 } else { -1 };
    INSTRUMENTS.unwritable.add(one, &[KeyValue::new("reason", reason.as_str())]);
}

/// Something was removed that nobody needs.
pub fn removed(why: &'static str, count: u64) {
    INSTRUMENTS.removed.add(count, &[KeyValue::new("why", why)]);
}
