//! The GPUs of this host. What cannot be read has a reason, and is never shown as 0.

mod nvml;

use std::fmt;

use caravan_proto::v1::Gpu;

pub(crate) use nvml::{LIBRARY, Nvml};

/// Reads the GPUs of a host. May block.
pub(crate) trait Probe: Send + fmt::Debug + 'static {
    /// Every GPU now, or why none can be read.
    fn sample(&mut self) -> Sample;
}

/// Product names and driver of an engine's GPUs, as profiles hold for them.
pub(crate) fn named(gpus: &[&Gpu]) -> (String, String) {
    let names: Vec<_> = gpus.iter().map(|gpu| gpu.name.as_str()).collect();
    (names.join(" + "), gpus.first().map(|gpu| gpu.driver.clone()).unwrap_or_default())
}

/// The GPUs at one moment, or why they cannot be read.
pub(crate) type Sample = Result<Vec<Gpu>, String>;
