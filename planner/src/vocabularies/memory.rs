//! What is remembered of vocabularies: built tokenizers, and those that cannot be had.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::Known;

/// Tokenizers that are held built.
const BUILT: usize = 2;
/// Keys that are remembered of each sort; the oldest is forgotten.
const REMEMBERED: usize = 256;
/// After this time an executor may have been mended.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// After this time a model may have been loaded, and its template rendered.
const ASKED: Duration = Duration::from_secs(60);

/// After this time what came too late once may come in time.
const LATE: Duration = Duration::from_secs(60);

/// How soon what cannot be had is worth another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// It did not come in time.
    Late,
    /// It cannot be read or built.
    Unusable,
}

#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The one used last is the last.
    built: VecDeque<Known>,
    refused: VecDeque<(String, String, Instant)>,
    asked: VecDeque<(String, Instant)>,
}

// === impl Memory ===

impl Memory {
    pub(super) fn built(&mut self, key: &str) -> Option<Known> {
        let place = self.built.iter().position(|known| known.key == key)?;
        let known = self.built.remove(place)?;
        self.built.push_back(known.clone());
        Some(known)
    }

    /// Keeps a tokenizer, and gives up the one that was not used for longest.
    pub(super) fn keep(&mut self, known: Known) {
        self.built.retain(|other| other.key != known.key);
        self.built.push_back(known);
        if self.built.len() > BUILT {
            self.built.pop_front();
        }
    }

    pub(super) fn refused(&self, key: &str) -> Option<String> {
        let (_, reason, until) = self.refused.iter().find(|(refused, ..)| refused == key)?;
        (Instant::now() < *until).then(|| reason.clone())
    }

    /// Remembers why there is none, as long as `patience` says.
    pub(super) fn refuse(&mut self, key: &str, reason: String, patience: Patience) {
        self.refused.retain(|(refused, ..)| refused != key);
        let until = Instant::now() + if patience == Patience::Late { LATE } else { FORGOTTEN };
        self.refused.push_back((key.to_owned(), reason, until));
        if self.refused.len() > REMEMBERED {
            self.refused.pop_front();
        }
    }

    /// Forgets what was built or refused of a key.
    pub(super) fn forget(&mut self, key: &str) {
        self.built.retain(|known| known.key != key);
        self.refused.retain(|(refused, ..)| refused != key);
    }

    /// Whether a template may be asked for; from now on it was.
    pub(super) fn may_ask(&mut self, key: &str) -> bool {
        self.asked.retain(|(_, since)| since.elapsed() < ASKED);
        if self.asked.iter().any(|(asked, _)| asked == key) {
            return false;
        }
        self.asked.push_back((key.to_owned(), Instant::now()));
        if self.asked.len() > REMEMBERED {
            self.asked.pop_front();
        }
        true
    }
}
