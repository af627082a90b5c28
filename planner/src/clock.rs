//! The one place where the planner reads the time.

use crate::store::Micros;

/// Microseconds since 1970, UTC.
#[must_use]
pub fn now() -> Micros {
    jiff::Timestamp::now().as_microsecond()
}

/// The day in UTC of a stored time.
#[must_use]
pub fn day(micros: Micros) -> jiff::civil::Date {
    let time = jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::MAX);
    jiff::tz::Offset::UTC.to_datetime(time).date()
}

/// A time of the contract as stored.
#[must_use]
pub fn micros(timestamp: prost_types::Timestamp) -> Micros {
    timestamp.seconds.saturating_mul(1_000_000).saturating_add(i64::from(timestamp.nanos / 1_000))
}

/// A length of time of the contract as stored.
#[must_use]
pub fn length(duration: prost_types::Duration) -> Micros {
    duration.seconds.saturating_mul(1_000_000).saturating_add(i64::from(duration.nanos / 1_000))
}

/// A span as stored.
#[must_use]
pub fn span(duration: std::time::Duration) -> Micros {
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX)
}

/// A stored time as the contract has it.
#[must_use]
pub fn timestamp(micros: Micros) -> prost_types::Timestamp {
    let nanos = i32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap_or_default();
    prost_types::Timestamp { seconds: micros.div_euclid(1_000_000), nanos }
}
