//! Calls under way: how many there are on all connections, on those of one address, and whether one connection
//! has any.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};

/// Those of one connection.
#[derive(Debug, Clone)]
pub(super) struct Calls {
    /// What is left for all connections.
    left: Arc<Semaphore>,
    /// What is left for those of the same address.
    left_here: Arc<Semaphore>,
    here: watch::Sender<usize>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Call {
    _one: [OwnedSemaphorePermit; 2],
    here: watch::Sender<usize>,
}

// === impl Calls ===

impl Calls {
    pub(super) fn new(left: Arc<Semaphore>, left_here: Arc<Semaphore>) -> Self {
        Self { left, left_here, here: watch::Sender::new(0) }
    }

    /// Nothing if there are as many as there may be.
    pub(super) fn begin(&self) -> Option<Call> {
        let one = |left: &Arc<Semaphore>| Arc::clone(left).try_acquire_owned().ok();
        let one = [one(&self.left_here)?, one(&self.left)?];
        self.here.send_modify(|here| *here += 1);
        Some(Call { _one: one, here: self.here.clone() })
    }

    /// Waits until there was none for so long.
    pub(super) async fn idle(&self, limit: Duration) {
        let mut here = self.here.subscribe();
        loop {
            // The sender is our own.
            let _always = here.wait_for(|here| *here == 0).await.is_ok();
            if timeout(limit, here.changed()).await.is_err() {
                return;
            }
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.here.send_modify(|here| *here -= 1);
    }
}
