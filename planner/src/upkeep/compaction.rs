use std::collections::HashSet;

use caravan_proto::name::BatchId;
use tokio_util::sync::CancellationToken;

use super::LOOK;
use crate::{
    objects::Objects,
    results,
    store::{self, Exclusive, State, Store},
};

/// Chunks looked at in one round.
const ROUND: i64 = 64;
/// One replica compacts at a time.
const TASK: Exclusive = Exclusive::Upkeep("compaction");

/// Compacts chunks as they are done, so that finalizing finds little to do.
pub(super) async fn run(store: &dyn Store, objects: &Objects, stop: &CancellationToken) {
    loop {
        let done = tokio::select! {
            done = round(store, objects) => done,
            () = stop.cancelled() => return,
        };
        if let Err(error) = done {
            tracing::error!(error = &error as &dyn std::error::Error, "finished chunks cannot be listed");
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn round(store: &dyn Store, objects: &Objects) -> Result<(), store::Error> {
    let Some(_claim) = store.exclusive(TASK).await? else { return Ok(()) };
    let open = store.open_batches().await?;
    // A batch that is being ended compacts by itself.
    let going_on = open.iter().filter(|batch| matches!(batch.state, State::Running | State::Paused));
    let going_on: HashSet<BatchId> = going_on.map(|batch| batch.id).collect();
    let found = store.uncompacted(ROUND).await?;
    for (batch, chunk) in found.into_iter().filter(|(batch, _)| going_on.contains(batch)) {
        if let Err(error) = results::compact(store, objects, batch, &chunk).await {
            let chunk = chunk.number;
            tracing::error!(%batch, chunk, error = &error as &dyn std::error::Error, "a chunk is not compacted");
        }
    }
    Ok(())
}
