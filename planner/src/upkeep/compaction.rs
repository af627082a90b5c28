use tokio_util::sync::CancellationToken;

use super::{Busy, LOOK};
use crate::{objects::Objects, results, store::Store};

/// Chunks looked at in one round.
const ROUND: i64 = 64;

/// Compacts chunks as they are done, so that finalizing finds little to do.
pub(super) async fn run(store: &dyn Store, objects: &Objects, busy: &Busy, stop: &CancellationToken) {
    loop {
        tokio::select! {
            () = round(store, objects, busy) => {}
            () = stop.cancelled() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn round(store: &dyn Store, objects: &Objects, busy: &Busy) {
    let found = match store.uncompacted(ROUND).await {
        Ok(found) => found,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "finished chunks cannot be listed");
            return;
        }
    };
    // A batch with a step under way is being finalized, and compacts by itself.
    for (batch, chunk) in found.into_iter().filter(|(batch, _)| !busy.has(*batch)) {
        if let Err(error) = results::compact(store, objects, batch, &chunk).await {
            let chunk = chunk.number;
            tracing::error!(%batch, chunk, error = &error as &dyn std::error::Error, "a chunk is not compacted");
        }
    }
}
