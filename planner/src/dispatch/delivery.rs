//! What an executor delivers, on its way to being kept.

use std::{collections::HashMap, sync::Arc};

use caravan_proto::{
    name::{BatchId, ExecutorId},
    v1,
};
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{
    Outgoing,
    session::{Error, name},
};
use crate::{
    results::{Arrival, Gatherer},
    signals::Signals,
    store::{Held, Store},
};

/// Takes what one executor delivers, in its order. Holds a bounded number of bytes of results.
pub(super) struct Queue {
    items: mpsc::UnboundedSender<Item>,
    room: Arc<Semaphore>,
    bytes: u32,
}

/// The other end.
pub(super) struct Queued {
    items: mpsc::UnboundedReceiver<Item>,
}

enum Item {
    Results(BatchId, Arrival, Arc<OwnedSemaphorePermit>),
    HandBack(Vec<Held>),
}

/// A queue of at most so many bytes; a larger message has it to itself.
pub(super) fn queue(bytes: usize) -> (Queue, Queued) {
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).max(1);
    let room = usize::try_from(bytes).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
    let (sender, items) = mpsc::unbounded_channel();
    (Queue { items: sender, room: Arc::new(Semaphore::new(room)), bytes }, Queued { items })
}

// === impl Queue ===

impl Queue {
    /// Queues results; waits for room.
    ///
    /// # Errors
    /// If they name no batch.
    pub(super) async fn results(&self, results: v1::Results, acks: &Outgoing) -> Result<(), Error> {
        let bytes = u32::try_from(results.encoded_len()).unwrap_or(u32::MAX).min(self.bytes);
        let mut by_batch: HashMap<BatchId, Vec<v1::RequestResult>> = HashMap::new();
        for result in results.results {
            let batch = name("batch", &result.batch)?;
            by_batch.entry(batch).or_default().push(result);
        }
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&self.room).acquire_many_owned(bytes).await else { return Ok(()) };
        let permit = Arc::new(permit);
        for (batch, results) in by_batch {
            let arrival = Arrival { results, acks: acks.clone() };
            self.put(Item::Results(batch, arrival, Arc::clone(&permit)));
        }
        Ok(())
    }

    /// Queues leases that are given back behind the results that came before them.
    pub(super) fn hand_back(&self, leases: Vec<Held>) {
        self.put(Item::HandBack(leases));
    }

    fn put(&self, item: Item) {
        // The other end lives as long as the session.
        let _ended = self.items.send(item);
    }
}

// === impl Queued ===

impl Queued {
    /// Has everything kept, until the queue is dropped and empty.
    pub(super) async fn keep(
        mut self,
        executor: ExecutorId,
        store: &Arc<dyn Store>,
        gatherer: &Gatherer,
        signals: &Signals,
    ) {
        while let Some(item) = self.items.recv().await {
            match item {
                Item::Results(batch, arrival, _room) => gatherer.take(batch, arrival).await,
                Item::HandBack(leases) => {
                    gatherer.flush().await;
                    for held in leases {
                        // If it cannot be noted, the lease runs out: nobody renews it.
                        if let Err(error) = store.hand_back(executor, held.lease, held.epoch).await {
                            tracing::warn!(
                                error = &error as &dyn std::error::Error,
                                "a lease is not taken back"
                            );
                        }
                    }
                    signals.work();
                }
            }
        }
    }
}
