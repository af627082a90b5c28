use crate::{Fleet, Tokens, spread::Load};

/// Whether an engine keeps a shared prefix from one request to the next.
///
/// Engines with full attention always do. One with sliding-window attention keeps a prefix only if it is
/// longer than the window, and if what follows it is evaluated at once: both read from llama.cpp's
/// server and measured on it.
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

    /// The smallest batch that all but the outliers fit, if there is one.
    fn batch(&self) -> Option<Tokens> {
        let all: u32 = self.counts.iter().sum();
        let mut fitting = 0;
        BATCHES.iter().zip(self.counts).find_map(|(&batch, count)| {
            fitting += count;
            (fitting >= all - all / OUTLIER).then_some(Tokens(batch))
        })
    }
}

/// Decides for the groups of one model. Gives the batch of tokens to load it with: the smallest that
/// keeps every prefix that can be kept, 0 to leave it to the engine.
pub(crate) fn decide(fleet: &Fleet, loads: &mut [Load]) -> Tokens {
    let Some(window) = fleet.sliding_window else { return Tokens(0) };
    let mut largest = Tokens(0);
    for load in loads.iter_mut().filter(|load| load.prefix_tokens > 0) {
        match load.own_parts.batch() {
            _ if load.prefix_tokens <= window.0 => load.reuse = Reuse::WithinWindow { window },
            Some(batch) => largest = largest.max(batch),
            None => load.reuse = Reuse::BeyondBatch { largest: Tokens(BATCHES[BATCHES.len() - 1]) },
        }
    }
    largest
}
