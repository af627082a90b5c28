//! A database that is not to be had yet when the planner starts.

use std::time::Duration;

use backon::ExponentialBuilder;

/// Pauses between tries, for so long in all.
pub(super) fn pauses(limit: Duration) -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(2))
        .with_jitter()
        .without_max_times()
        .with_total_delay(Some(limit))
}
