//! Memory as a line through the loads: fixed + slots × (slot + context × token).

use caravan_proto::v1::{MemoryFit, MemoryPoint, memory_fit::Source};

use super::{
    fit::{Row, nonnegative},
    formula::Cache,
    measurement::{Load, Reading},
};

/// `num_batch` where the engine chooses: the most that Ollama takes by itself.
const LARGEST_OWN_BATCH: u64 = 2_048;

/// The line, in bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Line {
    pub(crate) source: Source,
    pub(crate) fixed: f64,
    pub(crate) slot: f64,
    pub(crate) token: f64,
}

// === impl Line ===

impl Line {
    /// Through those of `loads` that are whole. One context alone does not tell what a token takes: then
    /// `cache`, the formula's, has to. None if nothing tells.
    pub(crate) fn of(loads: &[&Load], cache: Option<&Cache>) -> Option<Self> {
        let whole: Vec<&Load> = loads.iter().copied().filter(|load| !load.reading.is_split()).collect();
        let source = source(&whole)?;
        let read = |load: &&&Load| bytes(&load.reading, source) > 0;
        let beyond = |load: &&&Load| load.context >= linear_from(cache, load.batch);
        let usable: Vec<&Load> = whole.iter().filter(read).copied().collect();
        let linear: Vec<&Load> = usable.iter().filter(beyond).copied().collect();
        let points = if has_two_contexts(&linear) { linear } else { usable };
        let rows: Vec<Row<3>> = points.iter().map(|load| row(load, source)).collect();
        if has_two_contexts(&points) {
            let [fixed, slot, token] = nonnegative(&rows)?;
            return Some(Self { source, fixed, slot, token });
        }
        let (last, cache) = (points.last()?, cache?);
        let (all, token) = (bytes(&last.reading, source) as f64, cache.token_bytes());
        let slots = f64::from(last.slots);
        let cached = cache.bytes(last.context, own_batch(last.batch));
        let slot = (cached - token * last.context as f64).max(0.0);
        let fixed = (all - slots * (slot + token * last.context as f64)).max(0.0);
        Some(Self { source, fixed, slot, token })
    }

    /// Bytes at so many slots of `context` tokens.
    pub(crate) fn bytes(&self, slots: u32, context: u64) -> f64 {
        self.fixed + f64::from(slots) * (self.slot + context as f64 * self.token)
    }

    /// The largest context of one slot with which it takes `room` bytes at most; none if not even the
    /// shortest fits, or if a token takes nothing.
    pub(crate) fn largest_context(&self, slots: u32, room: u64) -> Option<u64> {
        let each = (room as f64 - self.fixed) / f64::from(slots.max(1)) - self.slot;
        let context = each / self.token;
        (context.is_finite() && context >= 1.0).then_some(context as u64)
    }
}

/// What was read of `loads` and the line through them, as the contract has it; none if nothing was read.
pub(crate) fn message(loads: &[&Load], line: Option<&Line>, cache: Option<&Cache>) -> Option<MemoryFit> {
    let whole: Vec<&Load> = loads.iter().copied().filter(|load| !load.reading.is_split()).collect();
    let source = line.map(|line| line.source).or_else(|| source(&whole))?;
    let known = loads.iter().filter(|load| load.context > 0);
    let points: Vec<MemoryPoint> = known.map(|load| point(load, source, line)).collect();
    let measured = points.iter().filter(|point| line.is_some() && point.bytes > 0);
    let residuals = measured.map(|point| (point.bytes as f64 - point.fitted_bytes).abs());
    Some(MemoryFit {
        source: source.into(),
        fixed_bytes: line.map_or(0.0, |line| line.fixed),
        slot_bytes: line.map_or(0.0, |line| line.slot),
        token_bytes: line.map_or(0.0, |line| line.token),
        formula_token_bytes: cache.map_or(0.0, Cache::token_bytes),
        largest_residual_bytes: residuals.fold(0.0, f64::max),
        points,
    })
}

fn point(load: &Load, source: Source, line: Option<&Line>) -> MemoryPoint {
    MemoryPoint {
        slots: load.slots.try_into().unwrap_or(i32::MAX),
        context: int64(load.context),
        bytes: int64(bytes(&load.reading, source)),
        size_bytes: int64(load.reading.size),
        size_vram_bytes: int64(load.reading.size_vram),
        refused: load.refused.clone(),
        fitted_bytes: line.map_or(0.0, |line| line.bytes(load.slots, load.context)),
    }
}

/// The context from which on memory is a line, where the formula knows of a window.
pub(crate) fn linear_from(cache: Option<&Cache>, batch: u64) -> u64 {
    cache.map_or(0, |cache| cache.linear_from(own_batch(batch)))
}

fn own_batch(batch: u64) -> u64 {
    if batch > 0 { batch } else { LARGEST_OWN_BATCH }
}

/// The best that was read of every load: what a GPU really holds, then what the engine says.
fn source(loads: &[&Load]) -> Option<Source> {
    let loaded: Vec<_> = loads.iter().filter(|load| load.reading != Reading::default()).collect();
    let all = [Source::Nvml, Source::SizeVram, Source::Size, Source::Resident];
    let of_every = |source: &Source| loaded.iter().all(|load| bytes(&load.reading, *source) > 0);
    all.into_iter().find(|source| !loaded.is_empty() && of_every(source))
}

fn bytes(reading: &Reading, source: Source) -> u64 {
    match source {
        Source::Nvml => reading.nvml,
        Source::SizeVram => reading.size_vram,
        Source::Size => reading.size,
        Source::Resident => reading.resident,
        Source::Unspecified => 0,
    }
}

fn row(load: &Load, source: Source) -> Row<3> {
    let slots = f64::from(load.slots);
    Row { x: [1.0, slots, slots * load.context as f64], y: bytes(&load.reading, source) as f64 }
}

fn has_two_contexts(loads: &[&Load]) -> bool {
    loads.iter().any(|load| Some(load.context) != loads.first().map(|first| first.context))
}

/// A size as the contract has it.
fn int64(size: u64) -> i64 {
    size.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn load(slots: u32, context: u64, reading: Reading) -> Load {
        Load { slots, context, reading, ..Load::default() }
    }

    /// A real Ollama on one H200: NVML's memory of its processes, an 8B model with 8 slots.
    fn h200() -> Vec<Load> {
        let measured = [(2_048, 9_873), (8_192, 16_261), (32_768, 40_933), (131_072, 138_913)];
        let reading = |mib: u64| Reading {
            nvml: (mib + 591) * MIB,
            size: mib * MIB,
            size_vram: mib * MIB,
            resident: 0,
        };
        measured.map(|(context, mib)| load(8, context, reading(mib))).into()
    }

    #[test]
    fn two_loads_of_a_real_gpu_predict_the_others_within_five_percent() {
        let all = h200();
        for fitted in [&all[..2], &all[1..3], &all[..]] {
            let line = Line::of(&fitted.iter().collect::<Vec<_>>(), None).unwrap();
            assert_eq!(line.source, Source::Nvml);
            for load in &all {
                let off = line.bytes(8, load.context) / load.reading.nvml as f64 - 1.0;
                assert!(off.abs() < 0.05, "{} at {}: {off}", fitted.len(), load.context);
            }
        }
    }

    #[test]
    fn the_largest_context_fits_and_the_next_does_not() {
        let all = h200();
        let line = Line::of(&all.iter().collect::<Vec<_>>(), None).unwrap();
        let room = 70_000 * MIB;
        let context = line.largest_context(8, room).unwrap();
        assert!(line.bytes(8, context) <= room as f64 && line.bytes(8, context + 1) > room as f64);
        assert_eq!(line.largest_context(8, 1_000 * MIB), None);
        assert_eq!(Line { token: 0.0, ..line }.largest_context(8, room), None);
    }

    #[test]
    fn one_context_is_told_apart_by_the_formula() {
        let one = load(2, 4_096, Reading { resident: 1_000 * MIB, ..Reading::default() });
        let cache = Cache { full: 1_024.0, ..Cache::default() };
        let line = Line::of(&[&one], Some(&cache)).unwrap();
        assert_eq!((line.source, line.token, line.slot), (Source::Resident, 1_024.0, 0.0));
        assert!((line.bytes(2, 4_096) - 1_000.0 * MIB as f64).abs() < 1.0);
        assert_eq!(Line::of(&[&one], None), None, "what a token takes is never taken for nothing");
        let message = message(&[&one], None, None).unwrap();
        assert_eq!((message.points[0].bytes, message.token_bytes), (1_000 << 20, 0.0));
    }

    #[test]
    fn a_split_load_and_one_that_failed_do_not_bend_the_line() {
        let mut all = h200();
        let split = Reading { nvml: 40_000 * MIB, size: 270_000 * MIB, size_vram: 39_000 * MIB, resident: 0 };
        all.push(load(8, 262_144, split));
        all.push(Load { refused: "out of memory".into(), ..load(8, 524_288, Reading::default()) });
        let loads: Vec<_> = all.iter().collect();
        let line = Line::of(&loads, None).unwrap();
        assert!((line.token / MIB as f64 - 0.125).abs() < 0.01, "{line:?}");
        let message = message(&loads, Some(&line), None).unwrap();
        assert_eq!(message.points.len(), 6);
        assert_eq!(message.points[5].bytes, 0);
        assert_eq!(Line::of(&loads[5..], None), None);
        assert_eq!(Line::of(&[], None), None);
    }

    #[test]
    fn below_the_window_no_point_counts() {
        let cache = Cache { full: 1_000.0, windowed: 9_000.0, window: 1_024, state: 0.0 };
        let at = |context: u64| {
            let size = 1_000_000 + 2 * cache.bytes(context, LARGEST_OWN_BATCH) as u64;
            load(2, context, Reading { size, ..Reading::default() })
        };
        let loads = [256, 512, 4_096, 8_192].map(at);
        let line = Line::of(&loads.iter().collect::<Vec<_>>(), Some(&cache)).unwrap();
        assert!((line.token - 1_000.0).abs() < 1.0, "{line:?}");
    }
}
