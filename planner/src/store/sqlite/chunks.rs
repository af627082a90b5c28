//! What is done to chunks, a statement after the other: they do not leave this process.

use caravan_proto::name::BatchId;
use sqlx::{Row as _, SqlitePool};

use super::{
    Connection, Row,
    sql::{cells::key, claim::Take},
    statements::NEXT_OF_SHARE,
};
use crate::store::{Warm, accept::Home};

/// Nothing: statements name the index that they go down.
#[expect(clippy::unused_async, reason = "where there is something to do, it takes time")]
pub(super) async fn added(_: &SqlitePool, _: i64) -> Result<(), sqlx::Error> {
    Ok(())
}

/// What comes next in shares, each with how many lanes are at it; of batches with at least this priority.
pub(super) async fn next_of_shares(
    tx: &mut Connection,
    models: &str,
    kind: i64,
    priority: i32,
    shares: &[(Warm, i64)],
) -> Result<Vec<Row>, sqlx::Error> {
    let mut rows = Vec::new();
    for (share, lanes) in shares {
        let next =
            sqlx::query(NEXT_OF_SHARE).bind(models).bind(kind).bind(key(share.batch)).bind(share.group);
        let next = next.bind(share.share).bind(priority).bind(lanes);
        rows.extend(next.fetch_all(&mut *tx).await?);
    }
    Ok(rows)
}

/// Takes chunks that nobody else can take, and leases them; an expired lease of one cannot be revived from then on.
/// Gives what is told of each.
pub(super) async fn take(tx: &mut Connection, wanted: &[Take<'_>]) -> Result<Vec<Row>, sqlx::Error> {
    let mut rows = Vec::with_capacity(wanted.len());
    for wanted in wanted {
        rows.push(take_one(tx, wanted).await?);
    }
    Ok(rows)
}

async fn take_one(
    tx: &mut Connection,
    &Take { batch, chunk, wanted }: &Take<'_>,
) -> Result<Row, sqlx::Error> {
    const TAKE: &str = "
        UPDATE chunks SET state = 1, epoch = epoch + 1 WHERE batch = $1 AND number = $2 AND state = 0
        RETURNING batch, number, plan_group, share, epoch, size, done,
            (SELECT plan_key FROM batches WHERE id = $1) AS plan_key";
    const FORGET: &str = "DELETE FROM leases WHERE batch = $1 AND chunk = $2 AND expired = 1";
    const LEASE: &str = "
        INSERT INTO leases (id, batch, chunk, epoch, executor, engine, lane, deadline)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

    let row = sqlx::query(TAKE).bind(key(batch)).bind(chunk).fetch_one(&mut *tx).await?;
    sqlx::query(FORGET).bind(key(batch)).bind(chunk).execute(&mut *tx).await?;
    sqlx::query(LEASE)
        .bind(key(wanted.lease))
        .bind(key(batch))
        .bind(chunk)
        .bind(row.try_get::<i64, _>("epoch")?)
        .bind(key(wanted.executor))
        .bind(&wanted.engine)
        .bind(wanted.lane)
        .bind(wanted.deadline)
        .execute(tx)
        .await?;
    Ok(row)
}

/// Writes the bits of these chunks; `segment` is an encoded number that is put behind those that the chunks
/// name already.
pub(super) async fn save(
    tx: &mut Connection,
    id: BatchId,
    homes: &[(i32, &Home)],
    segment: &[u8],
) -> Result<(), sqlx::Error> {
    // Protobuf merges what stands behind each other.
    const SAVE: &str = "
        UPDATE chunks SET
            done = $4, done_count = $5, segments = CAST(segments || $3 AS BLOB),
            state = CASE WHEN $5 = size THEN 2 /* done */ ELSE state END
        WHERE batch = $1 AND number = $2";

    for (number, home) in homes {
        let save = sqlx::query(SAVE).bind(key(id)).bind(number).bind(segment);
        save.bind(&home.done).bind(home.done_count).execute(&mut *tx).await?;
    }
    Ok(())
}
