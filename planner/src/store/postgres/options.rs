use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a planner uses its PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Connections for calls at most. Default 16: calls are short, and many more of them than the database has
    /// cores only wait for each other. All replicas together must stay below the server's `max_connections`.
    pub connections: u32,
    /// Connections at most that keep other replicas from the same step, one a step. Default 8: steps need
    /// processor time, and what finds none free is looked at again in a second.
    pub exclusive_connections: u32,
    /// A call waits so long for a free connection, in milliseconds. Default 10 s, a lease's time to live.
    pub acquire_ms: u64,
    /// The database breaks off a statement after this time, in milliseconds; 0 for never. Default 30 s: the
    /// slowest, the deletion of a large batch, takes seconds.
    pub statement_ms: u64,
    /// The database breaks off a statement that waits so long for a row, in milliseconds; 0 for never.
    /// Default 10 s: rows are held for milliseconds.
    pub lock_ms: u64,
    /// The planner waits so long for its database when it starts, in milliseconds; for one in a file, until its
    /// disk has space. Default 60 s: what a database takes to restart.
    pub start_ms: u64,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            connections: 16,
            exclusive_connections: 8,
            acquire_ms: 10_000,
            statement_ms: 30_000,
            lock_ms: 10_000,
            start_ms: 60_000,
        }
    }
}

impl Options {
    pub(super) fn acquire(&self) -> Duration {
        Duration::from_millis(self.acquire_ms)
    }

    pub(crate) fn start(&self) -> Duration {
        Duration::from_millis(self.start_ms)
    }
}
