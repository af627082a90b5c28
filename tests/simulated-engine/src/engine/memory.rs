//! What a loaded model takes: the KV formula, and whether it fits.

use crate::options::Options;

use super::window::Window;
use super::{Failure, ReloadSet};

/// Of the layers of a sliding-window model, every so many-th sees everything, as in Gemma 3.
const WHOLE_EVERY: u64 = 6;
/// The context of a slot is allocated in steps of so many tokens.
const STEP: u64 = 256;

/// Bytes of a loaded model, as `/api/ps` shows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) total: u64,
    pub(crate) vram: u64,
}

// === impl Sizes ===

impl Sizes {
    /// Sizes of a load with `set` on `slots` slots: weights + slots × context × layers × heads × (key + value).
    ///
    /// # Errors
    /// Out of memory, if all layers are asked for and do not fit. Asked for nothing, what does not fit goes to
    /// the CPU without a word.
    pub(crate) fn of(options: &Options, set: &ReloadSet, slots: usize) -> Result<Self, Failure> {
        let context = (set.context as u64).div_ceil(STEP) * STEP;
        // All layers but every sixth keep no more than their window, where they have one.
        let (whole, limited, cells) = match Window::of(options, set, slots) {
            Some(window) => {
                let whole = options.layers / WHOLE_EVERY;
                (whole, options.layers - whole, context.min(window.cells() as u64))
            }
            None => (options.layers, 0, 0),
        };
        let layer = options.token_bytes() / options.layers.max(1);
        let slot = layer.saturating_mul(whole.saturating_mul(context).saturating_add(limited * cells));
        let total = options.weights.saturating_add(slot.saturating_mul(slots as u64));
        let layers = options.layers.max(1);
        let room = options.vram.unwrap_or(u64::MAX);
        let fitting = if total <= room {
            layers
        } else {
            (u128::from(room) * u128::from(layers) / u128::from(total)) as u64
        };
        let placed = match set.num_gpu.and_then(|asked| u64::try_from(asked).ok()) {
            Some(asked) if asked.min(layers) > fitting && room > 0 => {
                return Err(Failure::load_out_of_memory());
            }
            Some(asked) => asked.min(fitting),
            None => fitting,
        };
        let vram = (u128::from(total) * u128::from(placed) / u128::from(layers)) as u64;
        Ok(Self { total, vram })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(vram: Option<u64>, context: usize, num_gpu: Option<i64>) -> Result<Sizes, Failure> {
        let set = ReloadSet { context, num_gpu, ..ReloadSet::default() };
        Sizes::of(&Options { vram, ..Options::default() }, &set, 8)
    }

    /// `/api/ps` of a real Ollama on one H200: the same shape, 8 slots.
    #[test]
    fn follows_the_real_sizes_within_two_percent() {
        for (context, real) in [
            (2_048, 10_352_957_849_u64),
            (8_192, 17_051_282_309),
            (32_768, 42_921_749_381),
            (131_072, 145_661_194_403),
        ] {
            let sizes = sizes(None, context, None).unwrap();
            assert!(sizes.total.abs_diff(real) < real / 50, "{context}: {} for {real}", sizes.total);
            assert_eq!(sizes.vram, sizes.total);
        }
    }

    #[test]
    fn a_window_saves_memory_unless_the_whole_cache_is_kept() {
        let set = ReloadSet { context: 32_768, num_batch: Some(512), ..ReloadSet::default() };
        let size = |sliding_window, swa_full| {
            let options = Options { sliding_window, swa_full, layers: 48, weights: 0, ..Options::default() };
            Sizes::of(&options, &set, 2).unwrap().total
        };
        let layer = 8 * 2 * 128 * 2;
        assert_eq!(size(1_024, false), 2 * layer * (8 * 32_768 + 40 * 1_536));
        assert_eq!(size(1_024, true), size(0, false));
    }

    #[test]
    fn what_does_not_fit_goes_to_the_cpu_unless_it_was_asked_for() {
        let room = Some(24 << 30);
        assert_eq!(sizes(room, 8_192, Some(999)).unwrap().vram, sizes(room, 8_192, None).unwrap().total);
        let partial = sizes(room, 32_768, None).unwrap();
        assert!(partial.vram > 0 && partial.vram <= 24 << 30 && partial.vram < partial.total);
        assert_eq!(sizes(room, 32_768, Some(999)), Err(Failure::load_out_of_memory()));
        assert_eq!(sizes(Some(0), 2_048, None).unwrap().vram, 0);
        let asked = sizes(None, 4_096, Some(10)).unwrap();
        assert!(asked.vram > 0 && asked.vram < asked.total / 2);
    }
}
