//! How much memory a model may take, and whether a load stayed within it.

use caravan_proto::v1::Gpu;

use super::measurement::Reading;
use crate::options::Ceiling;

const MIB: u64 = 1 << 20;
/// Kept free of what a load is predicted to take: engines take up to 240 MiB more in their first requests
/// than at load, measured on llama-server.
pub(crate) const SPARE: u64 = 512 * MIB;
/// Kept free after a request that filled the context: what can grow has grown.
pub(crate) const SPARE_FILLED: u64 = 256 * MIB;
/// What a process takes of a GPU that the engine does not count, where nothing tells: 591 MiB, measured on
/// an H200.
pub(crate) const DRIVER: u64 = 600 * MIB;

/// A GPU of which so much more is taken than before has got a process: its context alone takes more.
const GROWN: u64 = 100 * MIB;

/// What the engine may take.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Room {
    /// VRAM, in bytes.
    Vram(u64),
    /// Host memory, in bytes: there is no GPU in use.
    Host(u64),
    /// Nothing tells, and why.
    NotKnown(String),
}

/// What others take of a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Others {
    pub(crate) index: i32,
    total: u64,
    /// Bytes that are not the engine's.
    used: u64,
}

// === impl Room ===

impl Room {
    /// Bytes, if they are known.
    pub(crate) fn bytes(&self) -> Option<u64> {
        match self {
            Self::Vram(bytes) | Self::Host(bytes) => Some(*bytes),
            Self::NotKnown(_) => None,
        }
    }

    /// On GPUs of which others take `others`, under `ceiling`.
    pub(crate) fn on_gpus(others: &[Others], ceiling: Ceiling) -> Self {
        let free = |gpu: &Others| ceiling.of(gpu.total).saturating_sub(gpu.used);
        match (others, ceiling) {
            ([], Ceiling::Bytes(bytes)) => Self::Vram(bytes.saturating_sub(DRIVER)),
            ([], Ceiling::Share(_)) => Self::NotKnown(
                "The GPU cannot be read, so a ceiling that is a share of its memory bounds nothing: give one \
                 in bytes."
                    .to_owned(),
            ),
            (others, _) => Self::Vram(others.iter().map(free).sum()),
        }
    }
}

/// What is taken of each GPU without the engine's processes `pids`. GPUs whose memory cannot be read are
/// left out.
pub(crate) fn others(gpus: &[Gpu], pids: &[u32]) -> Vec<Others> {
    let of = |gpu: &Gpu| {
        let own: u64 = own_processes(gpu, pids).sum();
        let used = u64::try_from(gpu.vram_used_bytes?).ok()?;
        let total = u64::try_from(gpu.vram_total_bytes?).ok()?;
        Some(Others { index: gpu.index, total, used: used.saturating_sub(own) })
    };
    gpus.iter().filter_map(of).collect()
}

/// Bytes that the processes `pids` take of all GPUs; 0 if that is not known.
pub(crate) fn taken(gpus: &[Gpu], pids: &[u32]) -> u64 {
    gpus.iter().flat_map(|gpu| own_processes(gpu, pids)).sum()
}

/// The GPUs that the engine runs on: those of its processes `pids`, where these are not known those of which
/// more is taken than `before`, and else the only one.
pub(crate) fn in_use(gpus: &[Gpu], pids: &[u32], before: &[Others]) -> Vec<Gpu> {
    let has_process = |gpu: &&Gpu| own_processes(gpu, pids).next().is_some();
    let own: Vec<Gpu> = gpus.iter().filter(has_process).cloned().collect();
    if !own.is_empty() {
        return own;
    }
    let was = |index: i32| before.iter().find(|other| other.index == index).map(|other| other.used);
    let grew = |gpu: &&Gpu| {
        let used = gpu.vram_used_bytes.and_then(|used| u64::try_from(used).ok());
        used.zip(was(gpu.index)).is_some_and(|(used, was)| used > was + GROWN)
    };
    let grown: Vec<Gpu> = gpus.iter().filter(grew).cloned().collect();
    match (grown.is_empty(), gpus) {
        (true, [only]) => vec![only.clone()],
        _ => grown,
    }
}

/// Bytes that may be in use, all GPUs together; 0 if nothing tells.
pub(crate) fn ceiling(gpus: &[Gpu], ceiling: Ceiling) -> u64 {
    let totals: Vec<u64> = gpus.iter().filter_map(|gpu| u64::try_from(gpu.vram_total_bytes?).ok()).collect();
    match ceiling {
        Ceiling::Bytes(bytes) if totals.is_empty() => bytes,
        _ => totals.into_iter().map(|total| ceiling.of(total)).sum(),
    }
}

fn own_processes<'a>(gpu: &'a Gpu, pids: &'a [u32]) -> impl Iterator<Item = u64> + 'a {
    let own = gpu.processes.iter().filter(|process| pids.iter().any(|pid| i64::from(*pid) == process.pid));
    own.filter_map(|process| u64::try_from(process.vram_bytes?).ok())
}

/// Why a load may not be used; none if it may. `spare` is what must stay free below the ceiling.
pub(crate) fn refusal(
    reading: &Reading,
    gpus: &[Gpu],
    before: &[Others],
    ceiling: Ceiling,
    spare: u64,
) -> Option<String> {
    if reading.is_split() {
        let Reading { size, size_vram, .. } = reading;
        return Some(format!("only {} of {} are in VRAM: a part is on the CPU", gib(*size_vram), gib(*size)));
    }
    let on_gpu = reading.size_vram > 0 || reading.nvml > 0;
    let now = others(gpus, &[]);
    if now.is_empty() {
        let Ceiling::Bytes(bytes) = ceiling else { return None };
        let takes = reading.size_vram + DRIVER + spare;
        let over = on_gpu && takes > bytes;
        return over.then(|| format!("{} with what must stay free, over {}", gib(takes), gib(bytes)));
    }
    let over = |gpu: &&Others| {
        let was = before.iter().find(|other| other.index == gpu.index).map_or(0, |other| other.used);
        gpu.used > was && gpu.used + spare > ceiling.of(gpu.total)
    };
    let gpu = now.iter().find(over)?;
    let (takes, bound) = (gpu.used + spare, ceiling.of(gpu.total));
    Some(format!("GPU {}: {} with what must stay free, over {}", gpu.index, gib(takes), gib(bound)))
}

/// Bytes for a person.
pub(crate) fn gib(bytes: u64) -> String {
    format!("{:.2} GiB", bytes as f64 / (1_u64 << 30) as f64)
}

#[cfg(test)]
mod tests {
    use caravan_proto::v1::GpuProcess;

    use super::*;

    const GIB: i64 = 1 << 30;

    fn gpu(used: i64, own: i64) -> Gpu {
        Gpu {
            vram_used_bytes: Some(used * GIB),
            vram_total_bytes: Some(80 * GIB),
            processes: vec![
                GpuProcess { pid: 7, vram_bytes: Some(own * GIB), ..Default::default() },
                GpuProcess { pid: 8, vram_bytes: Some(GIB), ..Default::default() },
            ],
            ..Default::default()
        }
    }

    fn reading(size: u64, size_vram: u64) -> Reading {
        Reading { size: size << 30, size_vram: size_vram << 30, ..Reading::default() }
    }

    #[test]
    fn what_others_take_is_not_the_engines() {
        let gpus = [gpu(30, 20), Gpu::default()];
        assert_eq!(taken(&gpus, &[7]), 20 << 30);
        let others = others(&gpus, &[7]);
        assert_eq!(others.len(), 1, "one cannot be read");
        assert_eq!(Room::on_gpus(&others, Ceiling::Share(0.5)), Room::Vram(30 << 30));
        assert_eq!(Room::on_gpus(&[], Ceiling::Bytes(DRIVER + 5)), Room::Vram(5));
        assert_eq!(Room::on_gpus(&[], Ceiling::Share(0.5)).bytes(), None);
    }

    #[test]
    fn a_part_on_the_cpu_and_too_much_vram_are_refused() {
        let share = Ceiling::Share(0.5);
        let split = refusal(&reading(13, 4), &[], &[], share, SPARE).unwrap();
        assert!(split.contains("4.00 GiB of 13.00 GiB"), "{split}");
        let before = others(&[gpu(10, 0)], &[]);
        assert_eq!(refusal(&reading(20, 20), &[gpu(39, 20)], &before, share, SPARE), None);
        assert!(refusal(&reading(20, 20), &[gpu(40, 20)], &before, share, SPARE).is_some());
        assert_eq!(
            refusal(&reading(20, 20), &[gpu(10, 0)], &others(&[gpu(10, 0)], &[]), Ceiling::Share(0.1), SPARE),
            None,
            "a GPU that the engine does not use is no concern of it"
        );
    }

    #[test]
    fn without_a_gpu_to_read_a_ceiling_in_bytes_still_holds() {
        let ceiling = Ceiling::Bytes(20 << 30);
        assert_eq!(refusal(&reading(18, 18), &[], &[], ceiling, SPARE), None);
        assert!(refusal(&reading(19, 19), &[], &[], ceiling, SPARE).is_some());
        assert_eq!(refusal(&reading(19, 0), &[], &[], ceiling, SPARE), None, "nothing of it is in VRAM");
        assert_eq!(refusal(&reading(19, 19), &[], &[], Ceiling::Share(0.1), SPARE), None);
    }
}
