//! Faults on demand: what goes wrong, and for which requests.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::tokens::mix;

/// What goes wrong with one request for an answer (`/api/chat`, `/api/generate`, `/api/embed`, `/v1/…`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fault {
    /// 404: the model is not there.
    NotFound,
    /// 400: the prompt is longer than the context.
    TooLong,
    /// 503: too many requests wait for a load.
    Busy,
    /// Any status with any text.
    Error {
        /// HTTP status; one that HTTP does not know becomes 500.
        status: u16,
        /// The sentence.
        message: String,
    },
    /// 500: the runner is gone before it answered (the runner itself stays, see `Crash`).
    RunnerStopped,
    /// 500: the runner is gone in the middle of an answer (likewise).
    RunnerLost,
    /// 500: the runner was gone while the request waited (likewise).
    NoLongerRunning,
    /// 500: the model's file is damaged.
    LoadDamaged,
    /// 500: the runner was killed while it loaded.
    LoadKilled,
    /// 500: no VRAM left at load.
    LoadOutOfMemory,
    /// 500: the load took too long.
    LoadTimeout,
    /// 200 with `done:false` and half an answer.
    DoneFalse,
    /// 200 with `done:false` after 30 equal tokens.
    Repeat,
    /// The model does not stop by itself: the answer ends where a limit ends it.
    Endless,
    /// Takes a slot and never answers, until the client leaves or the runner dies.
    Hang,
    /// The runner dies when the prompt is evaluated: this and every other request on a slot fails, the waiting
    /// ones fail in another way, and the next one loads the model again.
    Crash,
    /// The whole process dies: every connection is cut and the port closed.
    Exit,
    /// Takes longer.
    Slow {
        /// Milliseconds more on its slot.
        millis: u64,
    },
    /// 200, half a body, then the connection is cut.
    Disconnect,
    /// 200 with a complete body that is not JSON.
    InvalidJson,
    /// 200 with a body that ends in the middle, its length as announced.
    TruncatedBody,
}

/// A fault and the requests it hits: those that meet every condition given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// What goes wrong.
    pub fault: Fault,
    /// Only requests with this in a message or prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// Only the nth request, from 1, of those that meet `contains`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nth: Option<u64>,
    /// Only this share of the requests that meet `contains`, from 0 to 1, as `seed` draws them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// Seed of `probability`.
    #[serde(default)]
    pub seed: u64,
    /// At most so many times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

/// The rules in force. A cheap clone of one shared list; the first rule that hits a request wins.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    rules: Arc<Mutex<Vec<Counted>>>,
}

#[derive(Debug)]
struct Counted {
    rule: Rule,
    seen: u64,
    fired: u64,
}

// === impl Rule ===

impl Rule {
    /// `fault` for every request.
    pub fn always(fault: Fault) -> Self {
        Self { fault, contains: None, nth: None, probability: None, seed: 0, count: None }
    }

    /// Only for requests with `text` in a message or prompt.
    #[must_use]
    pub fn containing(self, text: impl Into<String>) -> Self {
        Self { contains: Some(text.into()), ..self }
    }

    /// Only for the `nth` request, from 1.
    #[must_use]
    pub fn nth(self, nth: u64) -> Self {
        Self { nth: Some(nth), ..self }
    }

    /// Only for this share of the requests, from 0 to 1, drawn by `seed`.
    #[must_use]
    pub fn with_probability(self, probability: f64, seed: u64) -> Self {
        Self { probability: Some(probability), seed, ..self }
    }

    /// At most `count` times.
    #[must_use]
    pub fn times(self, count: u64) -> Self {
        Self { count: Some(count), ..self }
    }
}

// === impl Faults ===

impl Faults {
    /// Adds a rule behind those in force.
    pub fn add(&self, rule: Rule) {
        self.lock().push(Counted { rule, seen: 0, fired: 0 });
    }

    /// Ends all rules.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// The fault of the next request, whose messages are `texts`.
    pub(crate) fn pick<'t>(&self, texts: impl Iterator<Item = &'t str> + Clone) -> Option<Fault> {
        let mut rules = self.lock();
        rules.iter_mut().find_map(|counted| counted.hits(texts.clone()).then(|| counted.rule.fault.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Counted>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Counted ===

impl Counted {
    fn hits<'t>(&mut self, mut texts: impl Iterator<Item = &'t str>) -> bool {
        let rule = &self.rule;
        if rule.count.is_some_and(|count| self.fired >= count)
            || rule.contains.as_ref().is_some_and(|part| !texts.any(|text| text.contains(part.as_str())))
        {
            return false;
        }
        self.seen += 1;
        let drawn = rule.probability.is_none_or(|share| {
            let draw = mix(rule.seed, self.seen) >> 11;
            (draw as f64) / ((1_u64 << 53) as f64) < share
        });
        let hit = drawn && rule.nth.is_none_or(|nth| nth == self.seen);
        self.fired += u64::from(hit);
        hit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(rule: Rule, texts: &[&str]) -> Vec<usize> {
        let faults = Faults::default();
        faults.add(rule);
        let picked = |text: &&str| faults.pick([*text].into_iter()).is_some();
        texts.iter().enumerate().filter(|(_, text)| picked(text)).map(|(at, _)| at).collect()
    }

    #[test]
    fn conditions_are_joined() {
        let texts = ["a", "poison", "a", "poison", "poison"];
        assert_eq!(hits(Rule::always(Fault::Busy), &texts), [0, 1, 2, 3, 4]);
        assert_eq!(hits(Rule::always(Fault::Busy).nth(3), &texts), [2]);
        assert_eq!(hits(Rule::always(Fault::Busy).containing("poison"), &texts), [1, 3, 4]);
        assert_eq!(hits(Rule::always(Fault::Busy).containing("poison").nth(2), &texts), [3]);
        assert_eq!(hits(Rule::always(Fault::Busy).containing("poison").times(2), &texts), [1, 3]);
    }

    #[test]
    fn a_share_is_drawn_by_its_seed() {
        let texts = ["x"; 1_000];
        let drawn = |seed| hits(Rule::always(Fault::Busy).with_probability(0.1, seed), &texts);
        assert!((60..140).contains(&drawn(1).len()), "{}", drawn(1).len());
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
    }

    #[test]
    fn rules_read_as_json() {
        let rule: Rule = serde_json::from_str(r#"{"fault":{"kind":"slow","millis":5},"nth":2}"#).unwrap();
        assert_eq!(rule, Rule::always(Fault::Slow { millis: 5 }).nth(2));
    }
}
