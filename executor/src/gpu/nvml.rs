//! NVIDIA's own library, loaded when it is first asked.

use std::{
    collections::BTreeMap,
    fmt::Display,
    path::{Path, PathBuf},
};

use caravan_proto::v1::{Gpu, GpuProcess};
use nvml_wrapper::{
    Device, Nvml as Library, enum_wrappers::device::TemperatureSensor, enums::device::UsedGpuMemory,
    error::NvmlError, struct_wrappers::device::ProcessInfo,
};

use super::Probe;

/// The library as the loader looks for it: the name that every driver of NVIDIA for Linux installs.
pub(crate) const LIBRARY: &str = "libnvidia-ml.so.1";
/// `nvmlDeviceGetMigMode`'s word for a GPU that is split (`NVML_DEVICE_MIG_ENABLE`).
const MIG_ENABLED: u32 = 1;

/// Reads GPUs through NVML. A missing library is looked for again at every sample, so a
/// driver that is installed later is found.
#[derive(Debug)]
pub(crate) struct Nvml {
    path: PathBuf,
    library: Option<Library>,
}

/// The reasons why numbers of one GPU are missing.
#[derive(Debug, Default)]
struct Missing(Vec<String>);

// === impl Nvml ===

impl Default for Nvml {
    fn default() -> Self {
        Self::new(Path::new(LIBRARY))
    }
}

impl Nvml {
    /// With the library at `path`; one without a slash is looked for as every library is.
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), library: None }
    }

    fn reason(&self, error: &NvmlError) -> String {
        let name = self.path.file_name().unwrap_or(self.path.as_os_str()).display();
        match error {
            NvmlError::LibraryNotFound => format!("{name} not found"),
            // The loader has no code for it, only a sentence.
            NvmlError::LibloadingError(loading) if loading.to_string().contains("No such file") => {
                format!("{name} not found")
            }
            NvmlError::LibloadingError(loading) => format!("{name} cannot be loaded: {loading}"),
            other => other.to_string(),
        }
    }

    fn read(&mut self) -> Result<Vec<Gpu>, NvmlError> {
        let library = match &mut self.library {
            Some(library) => library,
            none => none.insert(Library::builder().lib_path(self.path.as_os_str()).init()?),
        };
        let driver = library.sys_driver_version();
        Ok((0..library.device_count()?)
            .map(|index| gpu(index, library.device_by_index(index), &driver))
            .collect())
    }
}

impl Probe for Nvml {
    fn sample(&mut self) -> Result<Vec<Gpu>, String> {
        self.read().map_err(|error| {
            // One that has failed as a whole is begun anew: the driver may have been replaced.
            self.library = None;
            self.reason(&error)
        })
    }
}

// === impl Missing ===

impl Missing {
    fn take<T, E: Display>(&mut self, what: &str, read: Result<T, E>) -> Option<T> {
        read.inspect_err(|error| self.0.push(format!("{what}: {error}"))).ok()
    }
}

fn gpu(index: u32, device: Result<Device<'_>, NvmlError>, driver: &Result<String, NvmlError>) -> Gpu {
    let index = i32::try_from(index).unwrap_or(i32::MAX);
    let device = match device {
        Ok(device) => device,
        Err(error) => return Gpu { index, unavailable: error.to_string(), ..Default::default() },
    };
    let mut missing = Missing::default();
    let memory = missing.take("memory", device.memory_info());
    let bytes = |bytes: u64| i64::try_from(bytes).ok();
    let gpu = Gpu {
        index,
        name: missing.take("name", device.name()).unwrap_or_default(),
        uuid: missing.take("uuid", device.uuid()).unwrap_or_default(),
        driver: missing.take("driver", driver.as_ref()).cloned().unwrap_or_default(),
        vram_used_bytes: memory.as_ref().and_then(|memory| bytes(memory.used)),
        vram_total_bytes: memory.as_ref().and_then(|memory| bytes(memory.total)),
        vram_free_bytes: memory.as_ref().and_then(|memory| bytes(memory.free)),
        utilization_percent: missing
            .take("utilization", device.utilization_rates())
            .and_then(|rates| i32::try_from(rates.gpu).ok()),
        temperature_celsius: missing
            .take("temperature", device.temperature(TemperatureSensor::Gpu))
            .and_then(|celsius| i32::try_from(celsius).ok()),
        power_watts: missing
            .take("power", device.power_usage())
            .map(|milliwatts| f64::from(milliwatts) / 1000.0),
        mig: mig(&device, &mut missing),
        processes: processes(&device, &mut missing),
        unavailable: String::new(),
    };
    Gpu { unavailable: missing.0.join("; "), ..gpu }
}

fn mig(device: &Device<'_>, missing: &mut Missing) -> Option<bool> {
    match device.mig_mode() {
        // GPUs that cannot be split say so.
        Err(NvmlError::NotSupported) => Some(false),
        mode => missing.take("mig", mode).map(|mode| mode.current == MIG_ENABLED),
    }
}

/// Who takes memory, the largest first.
fn processes(device: &Device<'_>, missing: &mut Missing) -> Vec<GpuProcess> {
    let mut taken: BTreeMap<u32, Option<u64>> = BTreeMap::new();
    for (what, listed) in [
        ("compute processes", device.running_compute_processes()),
        ("graphics processes", device.running_graphics_processes()),
    ] {
        // A process that computes and draws is on both lists, each time with all that it takes.
        for (pid, bytes) in by_pid(missing.take(what, listed).unwrap_or_default()) {
            let known = taken.entry(pid).or_default();
            *known = bytes.max(*known);
        }
    }
    let mut processes: Vec<_> = taken
        .into_iter()
        .map(|(pid, bytes)| GpuProcess {
            pid: pid.into(),
            vram_bytes: bytes.and_then(|bytes| i64::try_from(bytes).ok()),
            engine: String::new(),
        })
        .collect();
    processes.sort_by_key(|process| std::cmp::Reverse(process.vram_bytes));
    processes
}

/// What each process of one list takes: on a GPU that is split it has an entry for each instance.
fn by_pid(listed: Vec<ProcessInfo>) -> BTreeMap<u32, Option<u64>> {
    let mut taken: BTreeMap<u32, Option<u64>> = BTreeMap::new();
    for process in listed {
        let bytes = match process.used_gpu_memory {
            UsedGpuMemory::Used(bytes) => Some(bytes),
            UsedGpuMemory::Unavailable => None,
        };
        taken
            .entry(process.pid)
            .and_modify(|known| *known = known.zip(bytes).map(|(known, bytes)| known + bytes))
            .or_insert(bytes);
    }
    taken
}

#[cfg(test)]
mod tests;
