//! What the planner hears of VRAM.

use caravan_proto::v1;

use super::{
    Vram,
    share::{Share, gib},
};
use crate::gpu::{Sample, named};

/// Processes of one GPU that are told (`Gpu.processes`).
pub(super) const MOST_PROCESSES: usize = 64;

/// How one engine stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// Takes work, as far as VRAM goes.
    Works,
    /// Takes none for now. Why.
    Waits(String),
    /// Cannot be used. Why.
    Unfit(String),
}

// === impl Vram ===

impl Vram {
    /// The GPUs, or why they cannot be read.
    pub(crate) fn gpus(&self) -> Sample {
        self.divided.borrow().gpus.clone()
    }

    /// The engine at `place`, with what is known of its GPUs.
    pub(crate) fn tell(&self, place: usize, engine: v1::Engine) -> v1::Engine {
        let divided = self.divided.borrow();
        let share = divided.shares.get(place).cloned().unwrap_or_default();
        let standing = self.standings().get(place).cloned();
        let gpus = divided.gpus.iter().flatten().filter(|gpu| share.gpus.contains(&gpu.index));
        let gpus: Vec<&v1::Gpu> = gpus.collect();
        let ceilings = gpus.iter().filter(|gpu| gpu.mig != Some(true)).filter_map(|gpu| gpu.vram_total_bytes);
        let ceiling = |total| int64(self.ceiling.of(u64::try_from(total).unwrap_or(0)));
        let (gpu, driver) = named(&gpus);
        let mut told = v1::Engine {
            gpu,
            driver,
            gpu_indexes: share.gpus.clone(),
            vram_bytes: share.bytes.map(int64),
            vram_ceiling_bytes: ceilings.map(ceiling).sum(),
            ..engine
        };
        told.notes.extend(notes(&share));
        match standing {
            Some(Standing::Waits(why)) => told.notes.push(why),
            Some(Standing::Unfit(why)) if told.state() == v1::engine::State::Ready => {
                told.state = v1::engine::State::Unfit.into();
                let separator = if told.message.is_empty() { "" } else { "; " };
                told.message = format!("{why}{separator}{}", told.message);
            }
            _ => {}
        }
        told
    }
}

fn notes(share: &Share) -> Vec<String> {
    let mut notes = Vec::new();
    if let (true, Some(bytes)) = (share.is_said, share.bytes) {
        notes.push(format!(
            "its processes are not among those that NVML names: that it takes {} is its own word (size_vram)",
            gib(bytes)
        ));
    }
    if let Some(gpu) = share.split {
        notes.push(format!(
            "GPU {gpu} is split into instances (MIG), whose memory is not told: its ceiling is not watched"
        ));
    }
    notes
}

fn int64(bytes: u64) -> i64 {
    bytes.try_into().unwrap_or(i64::MAX)
}
