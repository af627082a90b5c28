//! What is done to chunks in one statement.

use caravan_proto::name::BatchId;
use sqlx::PgPool;

use super::{
    Connection, Row,
    sql::{cells::key, claim::Take},
    statements::NEXT_OF_SHARES,
};
use crate::store::{Warm, accept::Home};

/// So many chunks were added, and are about to be claimed. If that changes what the database knows of them, it
/// is told now: until it looks by itself, after a minute, it would take them for few, and sort all that
/// are queued at every claim.
pub(super) async fn added(pool: &PgPool, count: i64) -> Result<(), sqlx::Error> {
    // As much as it waits for itself (`autovacuum_analyze_scale_factor`), but for what is sorted in no time.
    const CHANGED: &str = "
        SELECT $1 > 500 AND $1 > reltuples * 0.1 FROM pg_class WHERE oid = 'chunks'::regclass";

    if sqlx::query_scalar(CHANGED).bind(count).fetch_one(pool).await? {
        sqlx::query("ANALYZE chunks").execute(pool).await?;
    }
    Ok(())
}

/// What comes next in shares, each with how many lanes are at it; of batches with at least this priority. Nobody
/// else gets these until the transaction ends.
pub(super) async fn next_of_shares(
    tx: &mut Connection,
    models: &str,
    kind: i64,
    priority: i32,
    shares: &[(Warm, i64)],
) -> Result<Vec<Row>, sqlx::Error> {
    let batches: Vec<_> = shares.iter().map(|(share, _)| key(share.batch)).collect();
    let groups: Vec<_> = shares.iter().map(|(share, _)| share.group).collect();
    let numbers: Vec<_> = shares.iter().map(|(share, _)| share.share).collect();
    let lanes: Vec<_> = shares.iter().map(|(_, lanes)| *lanes).collect();
    let next = sqlx::query(NEXT_OF_SHARES).bind(models).bind(kind).bind(priority);
    next.bind(batches).bind(groups).bind(numbers).bind(lanes).fetch_all(tx).await
}

/// Takes chunks that nobody else can take, and leases them, in one statement; an expired lease of one cannot be
/// revived from then on. Gives what is told of each.
pub(super) async fn take(tx: &mut Connection, wanted: &[Take<'_>]) -> Result<Vec<Row>, sqlx::Error> {
    // Not `state = 0`: before a large batch is analyzed, that leads it down the index of all that is queued.
    const TAKE: &str = "
        WITH wanted AS (
            SELECT * FROM UNNEST($1::uuid[], $2::int[], $3::uuid[], $4::uuid[], $5::text[], $6::int[], $7::bigint[])
                AS w (batch, number, id, executor, engine, lane, deadline)),
        taken AS (
            UPDATE chunks c SET state = 1, epoch = epoch + 1
            FROM wanted w WHERE c.batch = w.batch AND c.number = w.number AND c.state < 1
            RETURNING c.batch, c.number, c.plan_group, c.share, c.epoch, c.size, c.done,
                (SELECT plan_key FROM batches b WHERE b.id = c.batch) AS plan_key),
        forgotten AS (
            DELETE FROM leases l USING wanted w WHERE l.batch = w.batch AND l.chunk = w.number AND l.expired = 1),
        leased AS (
            INSERT INTO leases (id, batch, chunk, epoch, executor, engine, lane, deadline)
            SELECT w.id, w.batch, w.number, t.epoch, w.executor, w.engine, w.lane, w.deadline
            FROM taken t JOIN wanted w ON w.batch = t.batch AND w.number = t.number)
        SELECT * FROM taken";

    sqlx::query(TAKE)
        .bind(wanted.iter().map(|take| key(take.batch)).collect::<Vec<_>>())
        .bind(wanted.iter().map(|take| take.chunk).collect::<Vec<_>>())
        .bind(wanted.iter().map(|take| key(take.wanted.lease)).collect::<Vec<_>>())
        .bind(wanted.iter().map(|take| key(take.wanted.executor)).collect::<Vec<_>>())
        .bind(wanted.iter().map(|take| take.wanted.engine.as_str()).collect::<Vec<_>>())
        .bind(wanted.iter().map(|take| take.wanted.lane).collect::<Vec<_>>())
        .bind(wanted.iter().map(|take| take.wanted.deadline).collect::<Vec<_>>())
        .fetch_all(tx)
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
