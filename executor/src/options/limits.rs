//! Bounds that an operator may move.

use std::time::Duration;

use caravan_service::config;
use serde::{Deserialize, Serialize};

/// Bounds of waiting and of memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The next chunk is asked for when this one is about to last no longer, in
    /// milliseconds: a round trip, a claim and the transfer of a payload, with room.
    pub prefetch_millis: u64,
    /// Tries of a request whose failures are worth another one: peers allow 2 or 3.
    pub tries: u32,
    /// First pause between tries and probes, in milliseconds.
    pub first_pause_millis: u64,
    /// Longest pause between tries, probes and dials, in milliseconds.
    pub longest_pause_millis: u64,
    /// Results that may be unacked: what 2,500 requests a second leave in one commit
    /// interval of a planner, several times over.
    pub unacked_results: usize,
    /// Bytes of those.
    pub unacked_bytes: usize,
    /// While connected, not more than two results a lane stay unacked for longer than
    /// this, in milliseconds: a planner commits once a second, and takes its time.
    pub ack_millis: u64,
    /// Bytes of results in one message; a larger result travels alone.
    pub message_bytes: usize,
    /// A model that an engine could not run is not asked for again so long, in seconds.
    pub refuse_model_seconds: u64,
    /// An engine that gets a model is given up when it made no progress for so long, in seconds: it says
    /// nothing while it checks a file, which takes minutes for a large one on a slow disk.
    pub model_silence_seconds: u64,
    /// The fetching of a model's file from planners is given up when nothing came for so long, in
    /// seconds: time for a planner to be started again.
    pub fetch_patience_seconds: u64,
    /// Engines that answer are asked this often what they have, in milliseconds.
    pub refresh_millis: u64,
    /// GPUs are read this often, in milliseconds.
    pub gpu_millis: u64,
    /// A GPU is above or below its ceiling once so many readings in a row say so: a load frees and takes
    /// memory for a moment.
    pub vram_readings: u32,
    /// An engine whose GPU is above the ceiling for so long with nothing in flight is unfit, in seconds.
    pub unfit_seconds: u64,
    /// After draining, acks of the last results are waited for so long, in milliseconds.
    pub last_acks_millis: u64,
    /// Lives of leases until a planner says its own, in seconds.
    pub lease_ttl_seconds: u64,
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            prefetch_millis: 1_000,
            tries: 3,
            first_pause_millis: 100,
            longest_pause_millis: 5_000,
            unacked_results: 16_384,
            unacked_bytes: 64 << 20,
            ack_millis: 2_000,
            message_bytes: 1 << 20,
            refuse_model_seconds: 600,
            model_silence_seconds: 900,
            fetch_patience_seconds: 300,
            refresh_millis: 10_000,
            gpu_millis: 1_000,
            vram_readings: 3,
            unfit_seconds: 60,
            last_acks_millis: 1_500,
            lease_ttl_seconds: 30,
        }
    }
}

impl Limits {
    /// What serde cannot check; `section` is where the options stand in the file.
    pub(crate) fn check(&self, section: &str) -> Result<(), config::Error> {
        let check = |holds, key, wanted| config::check(holds, &format!("{section}.{key}"), wanted);
        check(self.tries > 0, "tries", "at least 1")?;
        check(self.unacked_results > 0, "unacked_results", "at least 1")?;
        check(self.gpu_millis > 0, "gpu_millis", "at least 1")?;
        check(self.unacked_bytes > 0, "unacked_bytes", "at least 1")?;
        let pauses = self.first_pause_millis > 0 && self.first_pause_millis <= self.longest_pause_millis;
        check(pauses, "first_pause_millis", "at least 1 and at most `longest_pause_millis`")?;
        let message = self.message_bytes > 0 && self.message_bytes <= caravan_proto::MAX_MESSAGE_BYTES / 2;
        check(message, "message_bytes", "1 to half of what a planner accepts (20 MiB)")
    }

    pub(crate) fn prefetch(&self) -> Duration {
        Duration::from_millis(self.prefetch_millis)
    }

    pub(crate) fn first_pause(&self) -> Duration {
        Duration::from_millis(self.first_pause_millis)
    }

    pub(crate) fn longest_pause(&self) -> Duration {
        Duration::from_millis(self.longest_pause_millis)
    }

    pub(crate) fn ack_within(&self) -> Duration {
        Duration::from_millis(self.ack_millis)
    }

    pub(crate) fn refuse_model(&self) -> Duration {
        Duration::from_secs(self.refuse_model_seconds)
    }

    pub(crate) fn model_silence(&self) -> Duration {
        Duration::from_secs(self.model_silence_seconds)
    }

    pub(crate) fn fetch_patience(&self) -> Duration {
        Duration::from_secs(self.fetch_patience_seconds)
    }

    pub(crate) fn refresh(&self) -> Duration {
        Duration::from_millis(self.refresh_millis)
    }

    pub(crate) fn gpu(&self) -> Duration {
        Duration::from_millis(self.gpu_millis)
    }

    pub(crate) fn unfit(&self) -> Duration {
        Duration::from_secs(self.unfit_seconds)
    }

    pub(crate) fn last_acks(&self) -> Duration {
        Duration::from_millis(self.last_acks_millis)
    }

    pub(crate) fn lease_ttl(&self) -> Duration {
        Duration::from_secs(self.lease_ttl_seconds)
    }
}
