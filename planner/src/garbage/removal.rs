use super::Error;
use crate::{
    objects::Objects,
    store::{Batch, FileDeletion, Store},
};

/// Removes an ended batch, its objects and the files that it made. Its row goes last, so that a
/// removal that is cut off can be repeated.
///
/// # Errors
/// If a part of it cannot be removed.
pub async fn remove_batch(store: &dyn Store, objects: &Objects, batch: &Batch) -> Result<(), Error> {
    let own_input = batch.retry.map(|_| batch.input);
    for file in [batch.outputs.output, batch.outputs.error, own_input].into_iter().flatten() {
        if let FileDeletion::Deleted(_) = store.delete_file(file).await? {
            objects.delete_file(file).await?;
        }
    }
    objects.delete_batch(batch.id).await?;
    store.delete_batch(batch.id).await?;
    Ok(())
}

/// Removes an ended batch and its input, unless another batch is of that too.
pub(super) async fn remove_with_input(
    store: &dyn Store,
    objects: &Objects,
    batch: &Batch,
) -> Result<(), Error> {
    if let FileDeletion::Deleted(_) = store.delete_input(batch.input, batch.id).await? {
        objects.delete_file(batch.input).await?;
    }
    remove_batch(store, objects, batch).await
}
