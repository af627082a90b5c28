//! What need not be kept any longer.

use caravan_proto::name::{BatchId, FileId};
use uuid::Uuid;

use super::{
    super::{Database, Hold, Row, hold},
    cells::{Cells, key},
    files,
};
use crate::store::{Error, FileDeletion, Micros};

pub(super) async fn identity(store: &Database, proposed: Uuid) -> Result<Uuid, Error> {
    const PROPOSE: &str = "INSERT INTO identity (one, id) VALUES (1, $1) ON CONFLICT DO NOTHING";
    const FIND: &str = "SELECT id FROM identity";

    sqlx::query(PROPOSE).bind(proposed).execute(&store.write).await?;
    Ok(sqlx::query_scalar(FIND).fetch_one(&store.write).await?)
}

pub(super) async fn retired(store: &Database, now: Micros, limit: i64) -> Result<Vec<BatchId>, Error> {
    const RETIRED: &str = "
        SELECT id FROM batches WHERE ended IS NOT NULL AND ended + retention <= $1 ORDER BY ended LIMIT $2";

    let query = sqlx::query(RETIRED).bind(now).bind(limit);
    let id = |row: &Row| Cells::of("batches", row).id("id");
    query.fetch_all(&store.read).await?.iter().map(id).collect()
}

pub(super) async fn delete_input(
    store: &Database,
    id: FileId,
    batch: BatchId,
) -> Result<FileDeletion, Error> {
    const SHARED: &str = "SELECT EXISTS (SELECT 1 FROM batches WHERE input = $1 AND id <> $2)";

    let mut tx = store.begin().await?;
    hold(&mut tx, Hold::File(id)).await?;
    let Some(file) = files::by_id(&mut *tx, id).await? else { return Ok(FileDeletion::NotFound) };
    if sqlx::query_scalar(SHARED).bind(key(id)).bind(key(batch)).fetch_one(&mut *tx).await? {
        return Ok(FileDeletion::InUse);
    }
    files::remove(&mut tx, id).await?;
    tx.commit().await?;
    Ok(FileDeletion::Deleted(file))
}

pub(super) async fn open_files(store: &Database, before: Micros, limit: i64) -> Result<Vec<FileId>, Error> {
    const OPEN: &str = "SELECT id FROM files WHERE ready = 0 AND created < $1 ORDER BY created LIMIT $2";

    let id = |row: &Row| Cells::of("files", row).id("id");
    sqlx::query(OPEN).bind(before).bind(limit).fetch_all(&store.read).await?.iter().map(id).collect()
}
