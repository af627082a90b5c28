use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{StreamExt as _, stream::FuturesOrdered};
use tokio::task::JoinHandle;

use super::{
    batch::{Batch, Counted, Work},
    counter::Seen,
};
use crate::prepare::Error;

/// Threads that count batches, and give what they come to in the order in which they were given.
/// Memory a thread: a batch, what it comes to, and what the thread has seen; about 4 MB.
pub(super) struct Pool {
    threads: usize,
    work: Arc<Work>,
    /// What each thread has seen.
    seen: Arc<Mutex<Vec<Seen>>>,
    working: FuturesOrdered<JoinHandle<Option<Counted>>>,
}

/// Threads at most: beyond that, reading the input is what takes the time.
const MOST_THREADS: usize = 16;

// === impl Pool ===

impl Pool {
    /// As many threads as the host has cores.
    pub(super) fn new(work: Work) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (seen, working) = Default::default();
        Self { threads: cores.min(MOST_THREADS), work: Arc::new(work), seen, working }
    }

    /// Hands a batch over; if all threads are at work, waits for the first and gives what it found.
    pub(super) async fn give(&mut self, batch: Batch) -> Result<Option<Counted>, Error> {
        let first = if self.working.len() >= self.threads { self.next().await? } else { None };
        let (work, seen) = (Arc::clone(&self.work), Arc::clone(&self.seen));
        self.working.push_back(tokio::task::spawn_blocking(move || {
            let mut mine = lock(&seen).pop().unwrap_or_default();
            let counted = batch.count(&work, &mut mine);
            lock(&seen).push(mine);
            counted
        }));
        Ok(first)
    }

    /// What the first batch under way came to; `None` if there is none.
    pub(super) async fn next(&mut self) -> Result<Option<Counted>, Error> {
        match self.working.next().await {
            Some(Ok(counted)) => counted.map(Some).ok_or(Error::Inconsistent),
            Some(Err(_)) => Err(Error::Stopped),
            None => Ok(None),
        }
    }
}

fn lock(seen: &Mutex<Vec<Seen>>) -> MutexGuard<'_, Vec<Seen>> {
    // Nothing panics while it holds this lock.
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
