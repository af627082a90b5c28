//! NVIDIA's own library, loaded when it is first asked.

use caravan_proto::v1::Gpu;
use nvml_wrapper::{Device, Nvml as Library, enum_wrappers::device::TemperatureSensor, error::NvmlError};

use super::Probe;

/// The library's file, as the loader looks for it.
const LIBRARY: &str = "libnvidia-ml.so.1";

/// Reads GPUs through NVML. A missing library is looked for again at every sample, so a
/// driver that is installed later is found.
#[derive(Debug, Default)]
pub(crate) struct Nvml {
    library: Option<Library>,
}

// === impl Nvml ===

impl Probe for Nvml {
    fn sample(&mut self) -> Result<Vec<Gpu>, String> {
        if self.library.is_none() {
            self.library =
                Some(Library::builder().lib_path(LIBRARY.as_ref()).init().map_err(|e| reason(&e))?);
        }
        let library = self.library.as_ref().ok_or("NVML is not loaded")?;
        let count = library.device_count().map_err(|e| reason(&e))?;
        Ok((0..count).map(|index| gpu(index, library.device_by_index(index))).collect())
    }
}

fn gpu(index: u32, device: Result<Device<'_>, NvmlError>) -> Gpu {
    let mut gpu = Gpu { index: i32::try_from(index).unwrap_or(i32::MAX), ..Default::default() };
    let device = match device {
        Ok(device) => device,
        Err(error) => return Gpu { unavailable: reason(&error), ..gpu },
    };
    let mut missing = Vec::new();
    let mut note = |what: &str, error: &NvmlError| missing.push(format!("{what}: {}", reason(error)));
    match device.name() {
        Ok(name) => gpu.name = name,
        Err(error) => note("name", &error),
    }
    match device.uuid() {
        Ok(uuid) => gpu.uuid = uuid,
        Err(error) => note("uuid", &error),
    }
    match device.memory_info() {
        Ok(memory) => {
            gpu.vram_used_bytes = i64::try_from(memory.used).ok();
            gpu.vram_total_bytes = i64::try_from(memory.total).ok();
        }
        Err(error) => note("memory", &error),
    }
    match device.utilization_rates() {
        Ok(rates) => gpu.utilization_percent = i32::try_from(rates.gpu).ok(),
        Err(error) => note("utilization", &error),
    }
    match device.temperature(TemperatureSensor::Gpu) {
        Ok(celsius) => gpu.temperature_celsius = i32::try_from(celsius).ok(),
        Err(error) => note("temperature", &error),
    }
    match device.power_usage() {
        Ok(milliwatts) => gpu.power_watts = Some(f64::from(milliwatts) / 1000.0),
        Err(error) => note("power", &error),
    }
    gpu.unavailable = missing.join("; ");
    gpu
}

fn reason(error: &NvmlError) -> String {
    match error {
        NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound => format!("{LIBRARY} not found"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_is_a_reason() {
        // Whether this machine has the library or not: an answer is GPUs or a reason.
        match Nvml::default().sample() {
            Ok(gpus) => assert!(gpus.iter().all(|gpu| !gpu.uuid.is_empty() || !gpu.unavailable.is_empty())),
            Err(why) => assert!(!why.is_empty()),
        }
        assert_eq!(reason(&NvmlError::LibraryNotFound), "libnvidia-ml.so.1 not found");
    }
}
