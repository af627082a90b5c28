use crate::{Fleet, ReusePoint, Tokens, spread::Load};

/// Whether an engine keeps a shared prefix from one request to the next.
///
/// What was measured on the model decides. Where nothing was: engines with full attention always do. One with
/// sliding-window attention keeps a prefix only if it is longer than the window, and if what follows it
/// is evaluated at once: both read from llama.cpp's server and measured on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reuse {
    /// It does.
    #[default]
    Kept,
    /// The prefix is not longer than the window.
    WithinWindow {
        /// The window.
        window: Tokens,
    },
    /// What follows the prefix is longer than any batch of tokens that the model may be loaded with.
    BeyondBatch {
        /// The largest batch.
        largest: Tokens,
    },
    /// It was measured not to, with a prefix about as long.
    Refuted {
        /// Index into `Fleet::reuse`.
        point: u32,
    },
}

/// The own parts of a group's prompts, counted by the batch of tokens that they fit.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct OwnParts {
    counts: [u32; BATCHES.len() + 1],
}

/// Batches that a sliding-window model is loaded with: those that Ollama chooses from by itself.
const BATCHES: [u64; 3] = [512, 1_024, 2_048];
/// One request in so many may be evaluated anew: the longest of all would give every model the
/// largest batch.
const OUTLIER: u32 = 100;

// === impl OwnParts ===

impl OwnParts {
    pub(crate) fn add(&mut self, own: u64) {
        let place = BATCHES.partition_point(|&batch| batch < own);
        if let Some(count) = self.counts.get_mut(place) {
            *count += 1;
        }
    }

    /// How long they are, but for the outliers: `BATCHES` bounds it, and beyond them there is no bound.
    fn most(&self) -> u64 {
        let all: u32 = self.counts.iter().sum();
        let mut fitting = 0;
        let bound = BATCHES.into_iter().zip(self.counts).find_map(|(batch, count)| {
            fitting += count;
            (fitting >= all - all / OUTLIER).then_some(batch)
        });
        bound.unwrap_or(u64::MAX)
    }
}

// === impl ReusePoint ===

impl ReusePoint {
    /// The longest own part for which it holds: what it was measured with, or what is evaluated at once.
    fn reach(&self) -> u64 {
        let batch = if self.batch.0 > 0 { self.batch.0 } else { BATCHES[0] };
        batch.max(self.own.0)
    }
}

/// Decides for the groups of one model. Gives the batch of tokens to load it with: the smallest that
/// keeps every prefix that can be kept, 0 to leave it to the engine.
pub(crate) fn decide(fleet: &Fleet, loads: &mut [Load]) -> Tokens {
    let mut largest = Tokens(0);
    for load in loads.iter_mut().filter(|load| load.prefix_tokens > 0) {
        match measured(fleet, load).unwrap_or_else(|| by_window(fleet, load)) {
            Ok(batch) => largest = largest.max(batch),
            Err(reuse) => load.reuse = reuse,
        }
    }
    largest
}

/// What the points with the longest prefix that is no longer than the group's tell, or with the shortest of all:
/// the batch with which it is kept, or why it is not.
fn measured(fleet: &Fleet, load: &Load) -> Option<Result<Tokens, Reuse>> {
    let lengths = || fleet.reuse.iter().map(|point| point.prefix);
    let at = lengths().filter(|prefix| prefix.0 <= load.prefix_tokens).max().or(lengths().min())?;
    let points = || (0u32..).zip(&fleet.reuse).filter(|(_, point)| point.prefix == at);
    let lost = points().find(|(_, point)| !point.kept).map(|(point, _)| Reuse::Refuted { point });
    let kept = || points().map(|(_, point)| point).filter(|point| point.kept);
    let most = if has_window(fleet) || lost.is_some() { load.own_parts.most() } else { 0 };
    let batch = kept().filter(|point| most <= point.reach()).map(|point| point.batch).min();
    let largest = Tokens(kept().map(ReusePoint::reach).max().unwrap_or_default());
    Some(batch.ok_or(lost.unwrap_or(Reuse::BeyondBatch { largest })))
}

/// Whether it matters how long the parts are that follow a prefix: not, by the rule, with full attention, nor where a prefix
/// within the window was kept, because the engine then holds more than the window.
fn has_window(fleet: &Fleet) -> bool {
    let beyond = |window| fleet.reuse.iter().all(|point| !point.kept || point.prefix > window);
    fleet.sliding_window.is_some_and(beyond)
}

fn by_window(fleet: &Fleet, load: &Load) -> Result<Tokens, Reuse> {
    let largest = Tokens(BATCHES[BATCHES.len() - 1]);
    match (fleet.sliding_window, load.own_parts.most()) {
        (None, _) => Ok(Tokens(0)),
        (Some(window), _) if load.prefix_tokens <= window.0 => Err(Reuse::WithinWindow { window }),
        (Some(_), most) if most > largest.0 => Err(Reuse::BeyondBatch { largest }),
        (Some(_), most) => Ok(Tokens(most)),
    }
}
