//! What is done to chunks in one statement.

use caravan_proto::name::BatchId;
use uuid::Uuid;

use super::{Connection, Row, sql::cells::key};
use crate::store::{Wanted, accept::Home};

/// Takes a chunk that nobody else can take, and leases it; an expired lease of it cannot be revived from then on.
/// Gives what is told of the chunk.
pub(super) async fn take(
    tx: &mut Connection,
    batch: Uuid,
    chunk: i32,
    wanted: &Wanted,
) -> Result<Row, sqlx::Error> {
    // Not `state = 0`: before a large batch is analyzed, that leads it down the index of all that is queued.
    const TAKE: &str = "
        WITH taken AS (
            UPDATE chunks SET state = 1, epoch = epoch + 1 WHERE batch = $1 AND number = $2 AND state < 1
            RETURNING plan_group, share, epoch, size, done,
                (SELECT plan_key FROM batches WHERE id = $1) AS plan_key),
        forgotten AS (
            DELETE FROM leases WHERE batch = $1 AND chunk = $2 AND expired = 1),
        leased AS (
            INSERT INTO leases (id, batch, chunk, epoch, executor, engine, lane, deadline)
            SELECT $3, $1, $2, epoch, $4, $5, $6, $7 FROM taken)
        SELECT * FROM taken";

    sqlx::query(TAKE)
        .bind(batch)
        .bind(chunk)
        .bind(key(wanted.lease))
        .bind(key(wanted.executor))
        .bind(&wanted.engine)
        .bind(wanted.lane)
        .bind(wanted.deadline)
        .fetch_one(tx)
        .await
}

/// Writes the bits of these chunks in one statement; `segment` is an encoded number that is put behind those
/// that the chunks name already.
pub(super) async fn save(
    tx: &mut Connection,
    id: BatchId,
    homes: &[(i32, &Home)],
    segment: &[u8],
) -> Result<(), sqlx::Error> {
    // Protobuf merges what stands behind each other.
    const SAVE: &str = "
        UPDATE chunks c SET
            done = n.done, done_count = n.done_count, segments = c.segments || $2,
            state = CASE WHEN n.done_count = c.size THEN 2 /* done */ ELSE c.state END
        FROM UNNEST($3::int[], $4::bytea[], $5::int[]) AS n (number, done, done_count)
        WHERE c.batch = $1 AND c.number = n.number";

    let numbers: Vec<i32> = homes.iter().map(|(number, _)| *number).collect();
    let bits: Vec<&[u8]> = homes.iter().map(|(_, home)| home.done.as_slice()).collect();
    let counts: Vec<i32> = homes.iter().map(|(_, home)| home.done_count).collect();
    sqlx::query(SAVE).bind(key(id)).bind(segment).bind(numbers).bind(bits).bind(counts).execute(tx).await?;
    Ok(())
}
