//! What nobody needs any more: batches that have been kept for as long as they were to be, uploads that were
//! given up, and objects that have no row. One replica looks at a time.

mod orphans;
mod removal;
#[cfg(test)]
mod tests;

use std::{error::Error as StdError, num::NonZeroU32, sync::Arc, time::Duration};

use caravan_proto::name::{BatchId, FileId};
pub use removal::remove_batch;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    metrics,
    objects::{self, Objects},
    store::{self, Exclusive, FileDeletion, Micros, Store},
};

/// Rows are looked at this often: whoever asks for a retention of hours does not wait for a minute.
const LOOK: Duration = Duration::from_secs(60);
/// Rows looked at in one round.
const ROUND: i64 = 256;
const TASK: Exclusive = Exclusive::Upkeep("garbage");
const MINUTE: Micros = 60_000_000;

/// What is removed by itself, and when.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Days for which batches that say nothing of it are kept after their end, with their files; 0 for ever.
    /// Default 0: nothing that somebody may still want is lost unasked.
    pub retention_days: u32,
    /// Hours after which an upload that was not completed is removed. Default 168, a week: who resumes it does
    /// so sooner.
    pub upload_hours: NonZeroU32,
    /// Hours after which an object without a row is removed. Default 24: rows follow within ten
    /// minutes, and a database that is restored from a copy may need what the copy does not know of.
    pub orphan_hours: NonZeroU32,
    /// Minutes between two searches for such objects, each of which lists all there are. Default 360.
    pub search_minutes: NonZeroU32,
}

/// Why something could not be removed; the next round tries again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Rows.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Bytes.
    #[error(transparent)]
    Objects(#[from] objects::Error),
}

/// Removes what nobody needs.
pub(crate) struct Garbage {
    options: Options,
    store: Arc<dyn Store>,
    objects: Objects,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        let hours = |hours| NonZeroU32::new(hours).unwrap_or(NonZeroU32::MAX);
        Self {
            retention_days: 0,
            upload_hours: hours(168),
            orphan_hours: hours(24),
            search_minutes: hours(360),
        }
    }
}

impl Options {
    /// How long a batch is kept that says nothing of it.
    #[must_use]
    pub(crate) fn retention(&self) -> Option<prost_types::Duration> {
        let seconds = i64::from(self.retention_days) * 86_400;
        (seconds > 0).then_some(prost_types::Duration { seconds, nanos: 0 })
    }

    fn upload(&self) -> Micros {
        Micros::from(self.upload_hours.get()) * 60 * MINUTE
    }

    fn orphan(&self) -> Micros {
        Micros::from(self.orphan_hours.get()) * 60 * MINUTE
    }

    fn search(&self) -> Duration {
        Duration::from_secs(60 * u64::from(self.search_minutes.get()))
    }
}

// === impl Garbage ===

impl Garbage {
    /// Garbage of `store` and `objects`.
    #[must_use]
    pub(crate) fn new(options: Options, store: Arc<dyn Store>, objects: Objects) -> Self {
        Self { options, store, objects }
    }

    /// Removes until stopped; what is broken off then is begun anew by the next process.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut next_search = Instant::now();
        loop {
            let done = tokio::select! {
                done = self.round(&mut next_search) => done,
                () = stop.cancelled() => return,
            };
            if let Err(error) = done {
                tracing::error!(error = &error as &dyn StdError, "garbage stays for now");
            }
            tokio::select! {
                () = sleep(LOOK) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn round(&self, next_search: &mut Instant) -> Result<(), Error> {
        let Some(_claim) = self.store.exclusive(TASK).await? else { return Ok(()) };
        let now = self.store.now().await?;
        self.remove_retired(now).await?;
        let (given_up, lost) = (now - self.options.upload(), now - self.options.orphan());
        self.remove_files(self.store.open_files(given_up, ROUND).await?, "upload").await;
        self.remove_files(self.store.lost_outputs(lost, ROUND).await?, "output").await;
        if Instant::now() >= *next_search {
            // Whatever comes of it: a search lists all there is.
            *next_search = Instant::now() + self.options.search();
            // A store that is full tells no time; then its clock is taken to be an hour behind at most.
            let clock = self.objects.clock().await.unwrap_or(now - 60 * MINUTE);
            self.remove_orphans(clock - self.options.orphan()).await?;
        }
        Ok(())
    }

    /// Batches whose retention has ended. One that cannot be removed holds up no other.
    async fn remove_retired(&self, now: Micros) -> Result<(), Error> {
        for id in self.store.retired(now, ROUND).await? {
            match self.remove_batch(id).await {
                Ok(()) => tracing::info!(batch = %id, "removed: its retention has ended"),
                Err(error) => {
                    tracing::error!(batch = %id, error = &error as &dyn StdError, "it is not removed")
                }
            }
        }
        Ok(())
    }

    async fn remove_batch(&self, id: BatchId) -> Result<(), Error> {
        if let Some(batch) = self.store.batch(id).await? {
            removal::remove_with_input(&*self.store, &self.objects, &batch).await?;
            metrics::removed("retention", 1);
        }
        Ok(())
    }

    /// Uploads that were given up, or outputs that no batch has.
    async fn remove_files(&self, files: Vec<FileId>, why: &'static str) {
        for file in files {
            match self.remove_file(file).await {
                Ok(false) => {}
                Ok(true) => {
                    metrics::removed(why, 1);
                    tracing::info!(%file, why, "a file is removed that nobody needs");
                }
                Err(error) => tracing::error!(%file, error = &error as &dyn StdError, "it is not removed"),
            }
        }
    }

    /// False if it stays: the input of a batch that is still being written for it, say.
    async fn remove_file(&self, file: FileId) -> Result<bool, Error> {
        let FileDeletion::Deleted(_) = self.store.delete_file(file).await? else { return Ok(false) };
        self.objects.delete_file(file).await?;
        Ok(true)
    }
}
