//! Work for executors: sessions with them, their credits, and leases in answer.

mod delivery;
mod digests;
mod errands;
mod fleet;
mod lessor;
mod outgoing;
mod session;
mod target;

pub use errands::Errands;
pub use fleet::{Fleet, Stop};
pub use lessor::Lessor;
pub use outgoing::Outgoing;
pub use session::Sessions;
pub use target::{Target, Unselected};

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::store::Micros;

/// How leases live.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// A lease lives so long without a heartbeat, in milliseconds. Default 10 s: longer than
    /// any pause of a healthy executor, short enough for a takeover that nobody waits for.
    pub ttl_ms: u64,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self { ttl_ms: 10_000 }
    }
}

impl Options {
    /// A lease's time to live.
    #[must_use]
    pub fn ttl(self) -> Duration {
        Duration::from_millis(self.ttl_ms)
    }

    /// How often executors send heartbeats: two may be lost.
    #[must_use]
    pub fn heartbeat(self) -> Duration {
        self.ttl() / 3
    }

    /// Until when a lease lives that is renewed `now`.
    #[must_use]
    pub fn deadline(self, now: Micros) -> Micros {
        now + i64::try_from(self.ttl().as_micros()).unwrap_or(i64::MAX / 2)
    }
}
