use std::sync::Arc;

use caravan_proto::{name::BatchId, v1};

use crate::{
    clock, metrics,
    objects::Objects,
    prepare::{self, Preparer},
    results,
    signals::Signals,
    store::{self, OpenBatch, State, Store},
};

/// Chunk rows read at a time.
const PAGE_ROWS: i64 = 500;

/// The steps that a batch takes by itself.
#[derive(Clone)]
pub(super) struct Steps {
    pub(super) store: Arc<dyn Store>,
    pub(super) objects: Objects,
    pub(super) preparer: Arc<Preparer>,
    pub(super) signals: Signals,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Prepare(#[from] prepare::Error),
    #[error(transparent)]
    Results(#[from] results::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
}

// === impl Steps ===

impl Steps {
    /// Takes the step that is due in the batch's state.
    pub(super) async fn take(&self, batch: OpenBatch) -> Result<(), Error> {
        match batch.state {
            State::Validating | State::Planning => match self.store.batch(batch.id).await? {
                Some(row) => Ok(self.preparer.prepare(&row).await?),
                None => Ok(()),
            },
            State::Finalizing => self.finish(batch.id).await,
            State::Cancelling => {
                let error = v1::RequestError {
                    code: "batch_cancelled".into(),
                    message: "the batch was cancelled before this request was answered".into(),
                };
                results::close(&*self.store, &self.objects, batch.id, &error).await?;
                self.finish(batch.id).await
            }
            _ => Ok(()),
        }
    }

    async fn finish(&self, id: BatchId) -> Result<(), Error> {
        self.compact_all(id).await?;
        let outputs = results::write_outputs(&self.store, &self.objects, id).await?;
        if self.store.finish(id, &outputs, clock::now()).await? {
            metrics::ended();
            tracing::info!("batch ended");
        }
        Ok(())
    }

    async fn compact_all(&self, id: BatchId) -> Result<(), Error> {
        let mut next = 0;
        loop {
            let chunks = self.store.chunks(id, next, PAGE_ROWS).await?;
            let Some(last) = chunks.last() else { return Ok(()) };
            next = last.number + 1;
            for chunk in chunks.iter().filter(|chunk| chunk.compacted.is_none()) {
                results::compact(&*self.store, &self.objects, id, chunk).await?;
            }
        }
    }

    /// Says of a queued batch why it waits. One that was planned without engines is planned anew
    /// once there are some, as long as nothing of it was leased.
    pub(super) async fn look_for_engines(&self, batch: OpenBatch) -> Result<(), store::Error> {
        let Some(row) = self.store.batch(batch.id).await? else { return Ok(()) };
        let Ok(capacity) = self.preparer.capacity().await else { return Ok(()) };
        let groups = row.plan.iter().flat_map(|plan| &plan.groups);
        let missing = groups.map(|group| &group.model).find(|model| !capacity.serves(model));
        if let Some(model) = missing {
            let message = format!("no engine has the model {model}; the batch waits for one");
            self.store.explain(batch.id, "NO_ENGINE_FOR_MODEL", &message).await?;
        } else if batch.provisional {
            let from = [State::Queued];
            self.store.advance(batch.id, &from, State::Planning, clock::now()).await?;
            self.signals.upkeep();
        } else {
            self.store
                .explain(batch.id, "WAITING_FOR_LANE", "every lane is at work on other batches")
                .await?;
        }
        Ok(())
    }
}
