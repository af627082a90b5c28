//! What a batch comes from, and how it is stopped, as values.

use caravan_proto::name::{BatchId, ExecutorId, LeaseId};

use super::State;

/// What a batch retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// The batch with the requests.
    pub of: BatchId,
    /// Bit `1 << Kind` for every kind of request that it takes.
    pub kinds: i32,
}

/// What `cancel` or `end_overdue` did to a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancellation {
    /// The state now.
    pub state: State,
    /// Leases that were removed, with their holders.
    pub revoked: Vec<(ExecutorId, LeaseId)>,
}

/// A batch that has ended, and whose webhook does not know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Untold {
    /// Which.
    pub batch: BatchId,
    /// How often it was told in vain.
    pub attempts: i32,
}
