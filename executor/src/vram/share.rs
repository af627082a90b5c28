//! Whose memory it is.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use caravan_proto::v1::{Gpu, GpuProcess};

use crate::options::Ceiling;

/// Memory that a driver has for itself without a process that it would name: 600 MiB were measured
/// on an idle card of 140 GB. What is beyond it is somebody's who is not named.
const DRIVER_RESERVE: u64 = 1 << 30;
/// Processes that a sentence names.
const NAMED: usize = 3;

/// An engine as memory is divided up.
#[derive(Debug, Clone)]
pub(super) struct Tenant {
    pub(super) id: Arc<str>,
    /// Its GPUs as configured; empty: found out.
    pub(super) gpus: Vec<i32>,
    /// Its GPUs as found out before.
    pub(super) used_before: Vec<i32>,
    /// Its processes; none where they are not seen.
    pub(super) processes: Option<Vec<u32>>,
    /// Bytes that it says it has filled; none if it does not tell.
    pub(super) said: Option<u64>,
}

/// What an engine has of the host's VRAM.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Share {
    /// Indexes of its GPUs; empty if they are not known.
    pub(super) gpus: Vec<i32>,
    /// Bytes that it takes, if that is known.
    pub(super) bytes: Option<u64>,
    /// Those are its own word, as its processes are not among those that the driver names.
    pub(super) is_said: bool,
    /// The GPU of its that is filled the most, against the ceiling. None where that is not known.
    pub(super) level: Option<Level>,
    /// A GPU of its that is split: its figures are not those of the instance.
    pub(super) split: Option<i32>,
}

/// How far a GPU is filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Level {
    pub(super) gpu: i32,
    pub(super) used: u64,
    pub(super) total: u64,
    /// Bytes that may be in use.
    pub(super) ceiling: u64,
    /// Who is the cause if that is too much.
    pub(super) cause: Cause,
    /// The others that take memory, for a person.
    pub(super) others: String,
}

/// Who is the cause of too much memory in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// This engine: it would be too much without any foreign process, and of our engines it takes the most.
    Engine,
    /// Another: a foreign process, or another engine of this host.
    Other,
    /// It cannot be told.
    Unknown,
}

// === impl Cause ===

impl Cause {
    /// A word for metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Other => "other",
            Self::Unknown => "unknown",
        }
    }
}

/// Divides the memory of `gpus` up among `tenants`, and names the engine of each process. `unseen`
/// are processes that are not of this process's namespace, or hidden from it.
pub(super) fn divide(
    gpus: &mut [Gpu],
    tenants: &[Tenant],
    ceiling: Ceiling,
    unseen: &HashSet<i64>,
) -> Vec<Share> {
    let owners: HashMap<i64, &Arc<str>> = tenants
        .iter()
        .flat_map(|tenant| tenant.processes.iter().flatten().map(|pid| (i64::from(*pid), &tenant.id)))
        .collect();
    for process in gpus.iter_mut().flat_map(|gpu| &mut gpu.processes) {
        process.engine = owners.get(&process.pid).map(ToString::to_string).unwrap_or_default();
    }
    let holdings: Vec<_> = tenants.iter().map(|tenant| Holding::of(tenant, gpus, unseen)).collect();
    let share = |(place, holding): (usize, &Holding)| Share {
        gpus: holding.gpus.clone(),
        bytes: holding.bytes(),
        is_said: holding.is_said,
        level: holding.level(gpus, place, &holdings, ceiling),
        split: holding.on(gpus).find(|gpu| gpu.mig == Some(true)).map(|gpu| gpu.index),
    };
    let shares = holdings.iter().enumerate().map(share).collect();
    if holdings.iter().any(|holding| holding.is_said) {
        hide_strangers(gpus, unseen);
    }
    shares
}

/// Leaves processes out that may be anybody's: an engine's could be among them.
fn hide_strangers(gpus: &mut [Gpu], unseen: &HashSet<i64>) {
    for gpu in gpus {
        let before = gpu.processes.len();
        gpu.processes.retain(|process| !unseen.contains(&process.pid));
        if gpu.processes.len() < before {
            let separator = if gpu.unavailable.is_empty() { "" } else { "; " };
            gpu.unavailable.push_str(&format!("{separator}processes: they are of another namespace"));
        }
    }
}

/// What one engine has of each GPU.
struct Holding {
    id: Arc<str>,
    gpus: Vec<i32>,
    /// By index of the GPU; none where it is not known.
    bytes: HashMap<i32, Option<u64>>,
    is_said: bool,
    said: u64,
}

// === impl Holding ===

impl Holding {
    fn of(tenant: &Tenant, gpus: &[Gpu], unseen: &HashSet<i64>) -> Self {
        let own = |gpu: &Gpu| -> Vec<Option<u64>> {
            let own = gpu.processes.iter().filter(|process| process.engine == *tenant.id);
            own.map(|process| process.vram_bytes.and_then(|bytes| u64::try_from(bytes).ok())).collect()
        };
        let listed: Vec<_> = gpus.iter().filter(|gpu| !own(gpu).is_empty()).map(|gpu| gpu.index).collect();
        let is_listed = !listed.is_empty();
        let only = if let [only] = gpus { vec![only.index] } else { Vec::new() };
        let candidates = [tenant.gpus.clone(), listed, tenant.used_before.clone(), only];
        let indexes = candidates.into_iter().find(|indexes| !indexes.is_empty()).unwrap_or_default();
        let on = || gpus.iter().filter(|gpu| indexes.contains(&gpu.index));
        let said = tenant.said.unwrap_or(0);
        let used: u64 = on().filter_map(|gpu| number(gpu.vram_used_bytes)).sum();
        // What it said may be from before an unload: then there is no room for it any more.
        let is_said = !is_listed && said > 0 && used >= said;
        // Nothing is listed, so nothing is taken, unless it may be one of those that are not seen.
        let hidden = tenant.said.is_none() && (tenant.processes.is_none() || !unseen.is_empty());
        let bytes = |gpu: &Gpu| match (is_listed, is_said, indexes.len()) {
            (true, ..) => own(gpu).into_iter().sum(),
            (false, true, 1) => Some(said),
            (false, true, _) => None,
            (false, false, _) => (!hidden).then_some(0),
        };
        let bytes = on().map(|gpu| (gpu.index, bytes(gpu))).collect();
        Self { id: Arc::clone(&tenant.id), gpus: indexes, bytes, is_said, said }
    }

    fn on<'a>(&'a self, gpus: &'a [Gpu]) -> impl Iterator<Item = &'a Gpu> {
        gpus.iter().filter(|gpu| self.gpus.contains(&gpu.index))
    }

    fn bytes(&self) -> Option<u64> {
        if self.is_said {
            return Some(self.said);
        }
        if self.bytes.is_empty() { None } else { self.bytes.values().copied().sum() }
    }

    fn level(&self, gpus: &[Gpu], place: usize, holdings: &[Self], ceiling: Ceiling) -> Option<Level> {
        let whole = self.on(gpus).filter(|gpu| gpu.mig != Some(true));
        let level = |gpu: &Gpu| {
            let (used, total) = (number(gpu.vram_used_bytes)?, number(gpu.vram_total_bytes)?);
            let ceiling = ceiling.of(total);
            let cause = cause(gpu, used, ceiling, place, holdings);
            Some(Level { gpu: gpu.index, used, total, ceiling, cause, others: others(gpu, &self.id) })
        };
        whole.filter_map(level).max_by_key(|level| i128::from(level.used) - i128::from(level.ceiling))
    }
}

fn cause(gpu: &Gpu, used: u64, ceiling: u64, place: usize, holdings: &[Holding]) -> Cause {
    let on_it: Vec<_> = holdings.iter().map(|holding| holding.bytes.get(&gpu.index).copied()).collect();
    let Some(ours) = on_it.iter().flatten().copied().sum::<Option<u64>>() else { return Cause::Unknown };
    let named: u64 = foreign(gpu).filter_map(|process| number(process.vram_bytes)).sum();
    let foreign = named.max(used.saturating_sub(ours).saturating_sub(DRIVER_RESERVE));
    let bytes = |place: usize| on_it[place].flatten();
    let largest = (0..on_it.len()).max_by_key(|place| (bytes(*place), Reverse(*place)));
    if used.saturating_sub(foreign) > ceiling && largest == Some(place) {
        Cause::Engine
    } else {
        Cause::Other
    }
}

/// Who else takes memory of `gpu`, the largest first.
fn others(gpu: &Gpu, engine: &str) -> String {
    let name = |process: &GpuProcess| {
        let whose = if process.engine.is_empty() { String::new() } else { format!(" of {}", process.engine) };
        let takes = number(process.vram_bytes).map_or_else(|| "some".to_owned(), gib);
        format!("process {}{whose} takes {takes}", process.pid)
    };
    let others = gpu.processes.iter().filter(|process| process.engine != engine);
    others.take(NAMED).map(name).collect::<Vec<_>>().join(", ")
}

/// Bytes as a person reads them.
pub(super) fn gib(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a tenth of a GiB is exact enough")]
    let gib = bytes as f64 / f64::from(1 << 30);
    format!("{gib:.1} GiB")
}

/// Processes of nobody's engine, the largest first.
fn foreign(gpu: &Gpu) -> impl Iterator<Item = &GpuProcess> {
    gpu.processes.iter().filter(|process| process.engine.is_empty())
}

fn number(number: Option<i64>) -> Option<u64> {
    number.and_then(|number| u64::try_from(number).ok())
}

#[cfg(test)]
mod tests;
