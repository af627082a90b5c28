//! Leases from their claim to their end.

use caravan_proto::name::{BatchId, ExecutorId, LeaseId};

use super::{
    super::{Connection, Database, Hold, Row, hold},
    cells::{Cells, key},
};
use crate::store::{Error, Lease};

/// Leases with what is read of them.
macro_rules! leases {
    ($which:literal) => {
        concat!(
            "SELECT id, batch, chunk, epoch, executor, engine, lane, deadline, started, expired FROM leases ",
            $which
        )
    };
}

pub(super) async fn hand_back(
    store: &Database,
    executor: ExecutorId,
    lease: LeaseId,
    epoch: i64,
) -> Result<bool, Error> {
    const REMOVE: &str = "DELETE FROM leases WHERE id = $1";
    const QUEUE: &str = "
        UPDATE chunks SET state = 0 WHERE batch = $1 AND number = $2 AND epoch = $3 AND state = 1";

    let mut tx = store.begin().await?;
    let Some(lease) = held(&mut tx, executor, lease, epoch).await? else { return Ok(false) };
    hold(&mut tx, Hold::Chunk(lease.batch, lease.chunk)).await?;
    sqlx::query(QUEUE).bind(key(lease.batch)).bind(lease.chunk).bind(lease.epoch).execute(&mut *tx).await?;
    if sqlx::query(REMOVE).bind(key(lease.id)).execute(&mut *tx).await?.rows_affected() == 0 {
        return Ok(false);
    }
    tx.commit().await?;
    Ok(true)
}

pub(super) async fn in_force(store: &Database, batch: Option<BatchId>) -> Result<Vec<Lease>, Error> {
    const ALL: &str = leases!("WHERE expired = 0 ORDER BY batch, chunk, epoch");
    const OF_BATCH: &str = leases!("WHERE expired = 0 AND batch = $1 ORDER BY chunk, epoch");

    let query = match batch {
        None => sqlx::query(ALL),
        Some(id) => sqlx::query(OF_BATCH).bind(key(id)),
    };
    query.fetch_all(&store.read).await?.iter().map(lease).collect()
}

/// The lease, if this executor holds it under this epoch: the fence.
pub(in crate::store) async fn held(
    tx: &mut Connection,
    executor: ExecutorId,
    id: LeaseId,
    epoch: i64,
) -> Result<Option<Lease>, Error> {
    const HELD: &str = leases!("WHERE id = $1 AND executor = $2 AND epoch = $3");

    let row = sqlx::query(HELD).bind(key(id)).bind(key(executor)).bind(epoch).fetch_optional(tx).await?;
    row.as_ref().map(lease).transpose()
}

fn lease(row: &Row) -> Result<Lease, Error> {
    let cells = Cells::of("leases", row);
    Ok(Lease {
        id: cells.id("id")?,
        batch: cells.id("batch")?,
        chunk: cells.get("chunk")?,
        epoch: cells.get("epoch")?,
        executor: cells.id("executor")?,
        engine: cells.get("engine")?,
        lane: cells.get("lane")?,
        deadline: cells.get("deadline")?,
        started: cells.flag("started")?,
        expired: cells.flag("expired")?,
    })
}
