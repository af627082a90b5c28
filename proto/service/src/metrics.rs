//! How a crate declares its metrics: one module of constants, each with name, unit and
//! help, so that what is exported can be read in one place.
//!
//! Without an exporter (see [`crate::telemetry`]) every instrument is a no-op. Make
//! instruments once, after `telemetry::init`, and keep them.

use opentelemetry::{
    global,
    metrics::{Counter, Gauge, Histogram, Meter, UpDownCounter},
};

/// One metric, as a crate declares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Dotted lower case, beginning with `caravan.`, e.g. `caravan.lease.expired`.
    pub name: &'static str,
    /// UCUM: `s`, `By`, `{request}`.
    pub unit: &'static str,
    /// What it counts, in one sentence.
    pub help: &'static str,
}

impl Metric {
    /// A metric.
    #[must_use]
    pub const fn new(name: &'static str, unit: &'static str, help: &'static str) -> Self {
        Self { name, unit, help }
    }

    /// A count that only grows.
    #[must_use]
    pub fn counter(self) -> Counter<u64> {
        meter().u64_counter(self.name).with_unit(self.unit).with_description(self.help).build()
    }

    /// A count of what is there now.
    #[must_use]
    pub fn up_down_counter(self) -> UpDownCounter<i64> {
        meter().i64_up_down_counter(self.name).with_unit(self.unit).with_description(self.help).build()
    }

    /// A value that was sampled.
    #[must_use]
    pub fn gauge(self) -> Gauge<f64> {
        meter().f64_gauge(self.name).with_unit(self.unit).with_description(self.help).build()
    }

    /// A distribution.
    #[must_use]
    pub fn histogram(self) -> Histogram<f64> {
        meter().f64_histogram(self.name).with_unit(self.unit).with_description(self.help).build()
    }
}

/// The meter of this process.
#[must_use]
pub fn meter() -> Meter {
    global::meter("caravan")
}
