//! What the engine counted, for tests to assert.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::hash::Hash;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

/// Everything counted since the start or the last reset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Requests for an answer that arrived, whatever became of them; loads and unloads are none.
    pub requests: u64,
    /// Answers finished on a slot.
    pub answers: u64,
    /// Requests hit by a fault.
    pub faults: u64,
    /// Prompt tokens of all requests that got a slot.
    pub prompt_tokens: u64,
    /// Of those, evaluated.
    pub evaluated_tokens: u64,
    /// Of those, taken from a slot's cache.
    pub cached_tokens: u64,
    /// Answer tokens generated.
    pub answer_tokens: u64,
    /// Most tokens (prompt and answer) that any request had in its slot.
    pub max_context: u64,
    /// Requests for an answer that are being served now, waiting ones included.
    pub in_flight: u64,
    /// Most of them at once.
    pub max_in_flight: u64,
    /// Loads and reloads of a model.
    pub loads: u64,
    /// Deaths of a runner.
    pub crashes: u64,
    /// Answers that were streamed, whole or not.
    pub streams: u64,
    /// Slots taken for ever by clients that left a stream.
    pub lost_slots: u64,
    /// By system prompt, its identity (a stable hash in hex) as key; empty for requests without one.
    pub system_prompts: BTreeMap<String, SystemPrompt>,
    /// Answers by marker: the rest of a word that begins with `marker=` in the question.
    pub markers: BTreeMap<String, u64>,
    /// Requests whose system prompt or marker was not counted singly, because `max_counted` others were.
    pub uncounted: u64,
}

/// What one system prompt cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemPrompt {
    /// Its length in tokens.
    pub tokens: u64,
    /// Requests that had it and got a slot.
    pub requests: u64,
    /// Of those, the ones for which none of its tokens came from a cache.
    pub evaluated_in_full: u64,
    /// Of its tokens, those evaluated, over all requests.
    pub evaluated_tokens: u64,
    /// Of its tokens, those taken from a cache, over all requests.
    pub cached_tokens: u64,
}

/// Memory: at most `max_counted` entries in each of two maps.
#[derive(Debug)]
pub(crate) struct Stats {
    counts: Mutex<Counts>,
    max_counted: usize,
    /// Where the time and the marker of every answer go.
    answers: Option<File>,
}

#[derive(Debug, Default)]
struct Counts {
    totals: Snapshot,
    system_prompts: HashMap<u64, SystemPrompt>,
    markers: HashMap<String, u64>,
}

// === impl Stats ===

impl Stats {
    pub(crate) fn new(max_counted: usize, answers: Option<&Path>) -> io::Result<Self> {
        let open = |path| File::options().create(true).append(true).open(path);
        Ok(Self { counts: Mutex::default(), max_counted, answers: answers.map(open).transpose()? })
    }

    /// A request for an answer arrived; it counts as in flight until the guard is dropped.
    pub(crate) fn arrived(self: &Arc<Self>) -> InFlight {
        let mut counts = self.lock();
        let totals = &mut counts.totals;
        totals.requests += 1;
        totals.in_flight += 1;
        totals.max_in_flight = totals.max_in_flight.max(totals.in_flight);
        InFlight(self.clone())
    }

    /// A request got a slot: `system` is the identity and length of its system prompt.
    pub(crate) fn evaluated(&self, prompt: usize, cached: usize, system: Option<(u64, usize)>) {
        let (prompt, cached) = (prompt as u64, cached as u64);
        let mut counts = self.lock();
        let counts = &mut *counts;
        counts.totals.prompt_tokens += prompt;
        counts.totals.cached_tokens += cached;
        counts.totals.evaluated_tokens += prompt - cached;
        let Some((id, tokens)) = system else { return };
        let Some(counted) = entry(&mut counts.system_prompts, id, self.max_counted) else {
            counts.totals.uncounted += 1;
            return;
        };
        counted.tokens = tokens as u64;
        counted.requests += 1;
        counted.evaluated_in_full += u64::from(cached == 0);
        counted.cached_tokens += cached.min(tokens as u64);
        counted.evaluated_tokens += (tokens as u64).saturating_sub(cached);
    }

    /// An answer of `tokens` was finished; `context` is prompt and answer together.
    pub(crate) fn answered(&self, tokens: usize, context: usize, marker: Option<&str>) {
        if let Some((mut answers, marker)) = self.answers.as_ref().zip(marker) {
            let micros = UNIX_EPOCH.elapsed().unwrap_or_default().as_micros();
            // One call, so that a kill leaves whole lines. Whoever reads the file sees what is missing.
            let _ = answers.write_all(format!("{micros} {marker}\n").as_bytes());
        }
        let mut counts = self.lock();
        let counts = &mut *counts;
        counts.totals.answers += 1;
        counts.totals.answer_tokens += tokens as u64;
        counts.totals.max_context = counts.totals.max_context.max(context as u64);
        if let Some(marker) = marker {
            if let Some(answers) = counts.markers.get_mut(marker) {
                *answers += 1;
            } else if let Some(answers) = entry(&mut counts.markers, marker.to_owned(), self.max_counted) {
                *answers = 1;
            } else {
                counts.totals.uncounted += 1;
            }
        }
    }

    pub(crate) fn loaded(&self) {
        self.lock().totals.loads += 1;
    }

    pub(crate) fn crashed(&self) {
        self.lock().totals.crashes += 1;
    }

    pub(crate) fn streamed(&self) {
        self.lock().totals.streams += 1;
    }

    pub(crate) fn lost_slot(&self) {
        self.lock().totals.lost_slots += 1;
    }

    /// Requests being served now.
    pub(crate) fn in_flight(&self) -> u64 {
        self.lock().totals.in_flight
    }

    pub(crate) fn faulted(&self) {
        self.lock().totals.faults += 1;
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let counts = self.lock();
        Snapshot {
            system_prompts: counts
                .system_prompts
                .iter()
                .map(|(id, counted)| (format!("{id:016x}"), *counted))
                .collect(),
            markers: counts.markers.iter().map(|(marker, answers)| (marker.clone(), *answers)).collect(),
            ..counts.totals.clone()
        }
    }

    /// Starts again from nothing; what is in flight stays counted as such.
    pub(crate) fn reset(&self) {
        let mut counts = self.lock();
        let in_flight = counts.totals.in_flight;
        *counts = Counts::default();
        counts.totals.in_flight = in_flight;
        counts.totals.max_in_flight = in_flight;
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request in flight, until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Stats>);

// === impl InFlight ===

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut counts = self.0.lock();
        counts.totals.in_flight = counts.totals.in_flight.saturating_sub(1);
    }
}

fn entry<K: Eq + Hash, V: Default>(map: &mut HashMap<K, V>, key: K, bound: usize) -> Option<&mut V> {
    if map.len() >= bound && !map.contains_key(&key) {
        return None;
    }
    Some(map.entry(key).or_default())
}
