//! Vocabularies that the planner wants, the one that is ready for it, and profiles.

use std::collections::VecDeque;

use caravan_proto::v1::{Profile, Vocabulary, connect_request::Message};

/// Keys that wait to be read; a planner that asks for more asks again at its next plan.
const MOST_WANTED: usize = 16;

/// At most one vocabulary is held, of 20 MiB at most, until it is sent. Profiles are those of this host
/// that the planner does not have, of some 10 KiB each.
#[derive(Debug, Default)]
pub(super) struct Errand {
    wanted: VecDeque<String>,
    ready: Option<Vocabulary>,
    profiles: VecDeque<Profile>,
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

    pub(super) fn put_profiles(&mut self, profiles: Vec<Profile>) {
        self.profiles.extend(profiles);
    }

    /// Whether something is to be sent.
    pub(super) fn has_next(&self) -> bool {
        self.is_ready() || !self.profiles.is_empty()
    }

    /// What is to be sent next: a vocabulary is large, and goes last.
    pub(super) fn take(&mut self) -> Option<Message> {
        let profile = self.profiles.pop_front().map(Message::Profile);
        profile.or_else(|| self.ready.take().map(Message::Vocabulary))
    }

    /// Whoever asked is gone.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}
