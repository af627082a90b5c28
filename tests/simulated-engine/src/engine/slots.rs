//! Slots and their caches: which slot a prompt gets, and how much of it is there already.

use std::sync::Arc;

use crate::tokens::Chain;

use super::window::Window;

/// The share of a prompt that must be in a slot's cache for the slot to be chosen for it (llama-server's `-sps`).
const SIMILARITY: f64 = 0.1;

/// The slots of one runner. Memory: one chain of at most a context's length a slot.
#[derive(Debug)]
pub(crate) struct Slots {
    slots: Vec<Slot>,
    turn: u64,
    similarity: f64,
    window: Option<Window>,
}

#[derive(Debug, Default, Clone)]
struct Slot {
    cache: Arc<Chain>,
    /// Tokens of the last prompt.
    prompt: usize,
    busy: bool,
    /// Busy for ever, though nobody uses it.
    lost: bool,
    last_used: u64,
}

/// A slot taken, and the prompt tokens that its cache holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) slot: usize,
    pub(crate) cached: usize,
}

// === impl Slots ===

impl Slots {
    /// `count` empty slots. With `always_similar` any common prefix beats the least recently used slot
    /// (the line before llama-server), otherwise only one longer than a tenth of the prompt.
    pub(crate) fn new(count: usize, always_similar: bool, window: Option<Window>) -> Self {
        let similarity = if always_similar { 0.0 } else { SIMILARITY };
        Self { slots: vec![Slot::default(); count.max(1)], turn: 0, similarity, window }
    }

    /// Takes the idle slot with the longest common prefix, else the least recently used one, if any is idle.
    pub(crate) fn take(&mut self, prompt: &Chain) -> Option<Taken> {
        let mut best: Option<(usize, usize)> = None;
        let mut oldest: Option<usize> = None;
        for (at, slot) in self.slots.iter().enumerate().filter(|(_, slot)| !slot.busy) {
            let common = slot.cache.common(prompt);
            let similar = common as f64 > self.similarity * prompt.len() as f64;
            if similar && best.is_none_or(|(_, longest)| common > longest) {
                best = Some((at, common));
            }
            if oldest.is_none_or(|oldest| slot.last_used < self.slots[oldest].last_used) {
                oldest = Some(at);
            }
        }
        let chosen = best.map(|(at, _)| at).or(oldest)?;
        let slot = &mut self.slots[chosen];
        slot.busy = true;
        // The last token is always evaluated: its logits give the first token of the answer.
        let common = slot.cache.common(prompt).min(prompt.len().saturating_sub(1));
        let cached =
            self.window.map_or(common, |window| window.reusable(common, slot.cache.len(), slot.prompt));
        slot.prompt = prompt.len();
        Some(Taken { slot: chosen, cached })
    }

    /// Gives a slot back with what its cache holds now.
    pub(crate) fn give_back(&mut self, slot: usize, cache: Arc<Chain>) {
        self.turn += 1;
        if let Some(slot) = self.slots.get_mut(slot).filter(|slot| !slot.lost) {
            *slot = Slot { cache, busy: false, last_used: self.turn, ..*slot };
        }
    }

    /// Gives back a slot that was not used.
    pub(crate) fn put_back(&mut self, slot: usize) {
        if let Some(slot) = self.slots.get_mut(slot) {
            slot.busy = false;
        }
    }

    /// Takes a slot out of use.
    pub(crate) fn lose(&mut self, slot: usize) {
        if let Some(slot) = self.slots.get_mut(slot) {
            slot.lost = true;
        }
    }

    /// Which of them are taken.
    pub(crate) fn busy(&self) -> Vec<bool> {
        self.slots.iter().map(|slot| slot.busy).collect()
    }

    /// Whether nobody uses one.
    pub(crate) fn all_idle(&self) -> bool {
        self.slots.iter().all(|slot| !slot.busy || slot.lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::text_of;

    fn prompt(prefix: &str, shared: usize, own: &str, tokens: usize) -> Arc<Chain> {
        let mut chain = Chain::default();
        chain.text(&text_of(prefix, shared), 1);
        chain.text(&text_of(own, tokens), 1);
        Arc::new(chain)
    }

    fn run(slots: &mut Slots, prompt: &Arc<Chain>) -> Taken {
        let taken = slots.take(prompt).unwrap();
        slots.give_back(taken.slot, prompt.clone());
        taken
    }

    #[test]
    fn a_prefix_goes_to_the_slot_that_holds_it() {
        let mut slots = Slots::new(2, false, None);
        assert_eq!(run(&mut slots, &prompt("a", 100, "x", 10)), Taken { slot: 0, cached: 0 });
        assert_eq!(run(&mut slots, &prompt("b", 100, "y", 10)), Taken { slot: 1, cached: 0 });
        assert_eq!(run(&mut slots, &prompt("a", 100, "z", 10)), Taken { slot: 0, cached: 100 });
        assert_eq!(run(&mut slots, &prompt("b", 100, "z", 10)), Taken { slot: 1, cached: 100 });
    }

    #[test]
    fn a_short_prefix_falls_to_the_least_recently_used() {
        for (always_similar, slot, cached) in [(false, 1, 0), (true, 0, 10)] {
            let mut slots = Slots::new(2, always_similar, None);
            run(&mut slots, &prompt("a", 10, "x", 100));
            let taken = run(&mut slots, &prompt("a", 10, "y", 100));
            assert_eq!(taken, Taken { slot, cached });
        }
    }

    #[test]
    fn the_least_recently_used_slot_still_reuses_its_prefix() {
        let mut slots = Slots::new(1, false, None);
        run(&mut slots, &prompt("a", 10, "x", 100));
        assert_eq!(run(&mut slots, &prompt("a", 10, "y", 100)).cached, 10);
    }

    #[test]
    fn the_last_token_is_always_evaluated_and_a_busy_slot_is_not_taken() {
        let mut slots = Slots::new(1, false, None);
        let same = prompt("a", 100, "x", 0);
        run(&mut slots, &same);
        assert_eq!(slots.take(&same).unwrap().cached, 99);
        assert_eq!(slots.take(&same), None);
        assert!(!slots.all_idle());
    }
}
