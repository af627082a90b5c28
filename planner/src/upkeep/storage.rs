//! What batches are told of the object store: why they stand still, and that they go on.

use std::{error::Error as StdError, time::Duration};

use caravan_proto::{error::Reason, name::BatchId};
use tokio_util::sync::CancellationToken;

use super::steps::{Error, Steps};
use crate::{
    objects::{Fault, Objects},
    store,
};

/// A step that cannot read or write objects is tried again after this time, and so is writing: as often
/// as results are, that wait for a commit.
const PAUSE: Duration = Duration::from_secs(5);

/// While nothing can be written, tries now and then: there may be nobody else who would notice that it can.
pub(super) async fn watch(objects: &Objects, stop: &CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => objects.retry_writing().await,
            () = stop.cancelled() => return,
        }
    }
}

impl Steps {
    /// Says why a step failed. Returns when it may be tried again.
    pub(super) async fn tell(&self, id: BatchId, error: &Error, stop: &CancellationToken) {
        let told = Fault::behind(error).and_then(|fault| Some((fault.reason()?, fault)));
        if !told.is_some_and(|(reason, _)| reason != Reason::ObjectDamaged) {
            tracing::error!(error = error as &dyn StdError, "a step failed");
        }
        let Some((reason, fault)) = told else { return };
        if let Err(error) = self.store.explain(id, reason.as_str(), &fault.advice()).await {
            tracing::error!(error = &error as &dyn StdError, "the batch is not told why");
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = stop.cancelled() => {}
        }
    }

    /// Says of a running batch that its results cannot be kept, or that they can be again. True if that is
    /// all there is to say of it.
    pub(super) async fn look_at_storage(&self, batch: &store::Batch) -> Result<bool, store::Error> {
        let told = [Reason::StorageFull, Reason::StorageDenied].map(Reason::as_str);
        match self.objects.trouble() {
            Some(trouble) => {
                self.store.explain(batch.id, trouble.reason.as_str(), &trouble.advice).await?;
                Ok(true)
            }
            None if told.contains(&&*batch.reason) => {
                self.store.explain(batch.id, "", "").await?;
                Ok(true)
            }
            None => Ok(false),
        }
    }
}
