//! Whether slots still hold what their lanes sent last.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Answers that are looked at together: enough that one cold slot does not count for much.
const KEPT: usize = 32;
/// Fewer answers than these say nothing.
const ENOUGH: usize = 8;
/// A shared part shorter than this share of its prompt is not what an engine chooses a slot by
/// (llama-server's `--slot-prompt-similarity`).
const SIMILAR: f64 = 0.1;
/// Affinity is lost below the first share of tokens found again, and back above the second.
const LOST: f64 = 0.5;
const BACK: f64 = 0.9;
/// A prompt that takes less time than this when it is cold is not judged by its time.
const TELLING: Duration = Duration::from_millis(50);

/// The share of tokens that were found in the cache, of those that should have been.
#[derive(Debug, Default)]
pub(crate) struct Affinity {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    turns: VecDeque<Found>,
    lost: bool,
}

#[derive(Debug, Clone, Copy)]
struct Found {
    shared: u64,
    cached: u64,
}

/// One answer, next to what its lane had sent before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    /// Tokens of the prompt.
    pub(crate) prompt: u64,
    /// Of those, as many as it begins with in common with the lane's last prompt and answer.
    pub(crate) shared: u64,
    /// Tokens that came from the cache, where the engine tells.
    pub(crate) cached: Option<u64>,
    /// Time of evaluating the rest, where the engine tells.
    pub(crate) took: Option<Duration>,
    /// Seconds that an evaluated token usually takes, if that is known.
    pub(crate) token_seconds: Option<f64>,
}

/// What an answer changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Change {
    /// So large a share of what slots should hold was evaluated again.
    Lost(f64),
    /// Slots hold their prompts again.
    Back,
}

// === impl Affinity ===

impl Affinity {
    /// Takes an answer in; gives the tokens that were found and those that should have been, where that
    /// can be told, and what that changes.
    pub(crate) fn observe(&self, turn: Turn) -> (Option<(u64, u64)>, Option<Change>) {
        let Some(found) = turn.found() else { return (None, None) };
        let mut state = self.lock();
        state.turns.push_back(found);
        if state.turns.len() > KEPT {
            state.turns.pop_front();
        }
        (Some((found.cached, found.shared)), state.change())
    }

    /// Caches are empty now, as they should be: loaded anew, or begun.
    pub(crate) fn restart(&self) {
        self.lock().turns.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    fn change(&mut self) -> Option<Change> {
        if self.turns.len() < ENOUGH {
            return None;
        }
        let sum = |of: fn(&Found) -> u64| self.turns.iter().map(of).sum::<u64>();
        let share = share(sum(|found| found.cached), sum(|found| found.shared));
        let change = match self.lost {
            false if share < LOST => Change::Lost(1.0 - share),
            true if share >= BACK => Change::Back,
            _ => return None,
        };
        self.lost = !self.lost;
        Some(change)
    }
}

// === impl Turn ===

impl Turn {
    /// None if nothing is to be found again, or it cannot be told whether it was.
    fn found(&self) -> Option<Found> {
        let Self { prompt, shared, .. } = *self;
        if share(shared, prompt) <= SIMILAR {
            return None;
        }
        let cached = match self.cached {
            // An estimate of where two prompts part may be off by some tokens.
            Some(cached) => cached.min(shared),
            None => self.found_by_time()?,
        };
        Some(Found { shared, cached })
    }

    /// All or nothing: whether it took as long as if half of what is shared had been evaluated too. Under
    /// load times are shared with other slots, so nothing finer can be read from them.
    fn found_by_time(&self) -> Option<u64> {
        let seconds = self.took?.as_secs_f64();
        let of = |tokens: u64| self.token_seconds.map(|each| each * share(tokens, 1));
        let (cold, warm) = (of(self.prompt)?, of(self.prompt - self.shared.min(self.prompt))?);
        let tells = cold >= TELLING.as_secs_f64() && warm <= cold / 2.0;
        tells.then(|| if seconds > f64::midpoint(warm, cold) { 0 } else { self.shared })
    }
}

#[expect(clippy::cast_precision_loss, reason = "tokens of some requests are far below 2^52")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(shared: u64, cached: u64) -> Turn {
        Turn { prompt: 1_000, shared, cached: Some(cached), took: None, token_seconds: None }
    }

    fn timed(shared: u64, millis: u64) -> Turn {
        let took = Some(Duration::from_millis(millis));
        Turn { prompt: 1_000, shared, cached: None, took, token_seconds: Some(0.001) }
    }

    fn last(affinity: &Affinity, turns: usize, turn: Turn) -> Vec<Change> {
        (0..turns).filter_map(|_| affinity.observe(turn).1).collect()
    }

    #[test]
    fn it_is_lost_once_and_back_once() {
        let affinity = Affinity::default();
        assert_eq!(last(&affinity, KEPT, told(900, 890)), []);
        let changes = last(&affinity, KEPT, told(900, 0));
        assert!(matches!(changes[..], [Change::Lost(share)] if share > 0.5), "{changes:?}");
        assert_eq!(last(&affinity, KEPT, told(900, 900)), [Change::Back]);
    }

    #[test]
    fn where_nothing_is_shared_nothing_is_lost() {
        let affinity = Affinity::default();
        assert_eq!(affinity.observe(told(100, 0)), (None, None));
        assert_eq!(last(&affinity, KEPT, told(50, 0)), []);
    }

    #[test]
    fn without_counts_the_time_of_the_prompt_tells() {
        let affinity = Affinity::default();
        assert_eq!(affinity.observe(timed(900, 400)).0, Some((900, 900)), "slow, and not cold");
        assert_eq!(affinity.observe(timed(900, 700)).0, Some((0, 900)));
        assert_eq!(affinity.observe(timed(400, 900)).0, None, "warm and cold are too near");
        let fast = Turn { token_seconds: Some(0.000_01), ..timed(900, 20) };
        assert_eq!(affinity.observe(fast).0, None, "too fast to tell");
        let unknown = Turn { token_seconds: None, ..timed(900, 700) };
        assert_eq!(affinity.observe(unknown).0, None);
    }

    #[test]
    fn after_a_load_it_begins_anew() {
        let affinity = Affinity::default();
        assert_eq!(last(&affinity, ENOUGH - 1, told(900, 0)), []);
        affinity.restart();
        assert_eq!(last(&affinity, ENOUGH - 1, told(900, 0)), []);
        assert_eq!(last(&affinity, 1, told(900, 0)).len(), 1);
    }
}
