//! Hints that something changed. Everybody who waits also looks by itself from time to time,
//! so a hint that is lost (another replica's, say) costs time and nothing else.

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;

/// Wakes the loops of this replica. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    batch: Notify,
    upkeep: Notify,
    work: Notify,
}

// === impl Signals ===

impl Signals {
    /// Some batch has a new revision.
    pub fn batch_changed(&self) {
        self.inner.batch.notify_waiters();
    }

    /// There is something to prepare, compact or finish.
    pub fn upkeep(&self) {
        self.inner.upkeep.notify_one();
    }

    /// There may be chunks to lease.
    pub fn work(&self) {
        self.inner.work.notify_one();
    }

    /// Waits for a new revision of some batch, at most so long.
    pub async fn until_batch_changes(&self, limit: Duration) {
        let _either = tokio::time::timeout(limit, self.inner.batch.notified()).await;
    }

    /// Waits for upkeep to do, at most so long.
    pub async fn until_upkeep(&self, limit: Duration) {
        let _either = tokio::time::timeout(limit, self.inner.upkeep.notified()).await;
    }

    /// Waits for chunks to lease, at most so long.
    pub async fn until_work(&self, limit: Duration) {
        let _either = tokio::time::timeout(limit, self.inner.work.notified()).await;
    }
}
