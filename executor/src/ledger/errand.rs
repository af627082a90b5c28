//! Vocabularies that the planner wants, and the one that is ready for it.

use std::collections::VecDeque;

use caravan_proto::v1::Vocabulary;

/// Keys that wait to be read; a planner that asks for more asks again at its next plan.
const MOST_WANTED: usize = 16;

/// At most one vocabulary is held, of 20 MiB at most, until it is sent.
#[derive(Debug, Default)]
pub(super) struct Errand {
    wanted: VecDeque<String>,
    ready: Option<Vocabulary>,
}

// === impl Errand ===

impl Errand {
    /// Notes a key, once; false if too many wait.
    pub(super) fn want(&mut self, key: String) -> bool {
        if self.wanted.contains(&key) {
            return true;
        }
        let room = self.wanted.len() < MOST_WANTED;
        if room {
            self.wanted.push_back(key);
        }
        room
    }

    /// The next key to read.
    pub(super) fn next(&mut self) -> Option<String> {
        self.wanted.pop_front()
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready.is_some()
    }

    pub(super) fn put(&mut self, vocabulary: Vocabulary) {
        self.ready = Some(vocabulary);
    }

    pub(super) fn take(&mut self) -> Option<Vocabulary> {
        self.ready.take()
    }

    /// Whoever asked is gone.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}
