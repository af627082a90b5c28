//! What validation and planning leave behind.

use caravan_proto::{
    name::{BatchId, PlanId},
    v1,
};
use prost::Message as _;
use sqlx::Row as _;

use super::{
    super::{Connection, Database, chunks},
    cells::{Cells, key},
    messages::LineErrors,
    results::{Registration, register},
};
use crate::store::{Error, Micros, NewChunk, Piece, Planned, Rejected, bits};

/// Where a batch may still be planned anew: nothing of it was ever leased.
pub(super) async fn reset(store: &Database, id: BatchId, plan: PlanId) -> Result<bool, Error> {
    const RESET: &str = "
        UPDATE batches SET
            state = CASE state WHEN 3 /* queued */ THEN 2 /* planning */ ELSE state END,
            reason = '', message = '', total = 0, succeeded = 0, failed = 0, chunks = 0, chunks_done = 0,
            prompt_tokens = 0, prompt_basis = 0, evaluated_tokens = 0, cached_tokens = 0, cache_basis = 0,
            completion_tokens = 0, next_segment = 0, loose_from = 0, loose_pieces = 0, provisional = 0,
            planned = NULL, plan_key = $2, revision = revision + 1
        WHERE id = $1 AND started IS NULL
          AND (state IN (1 /* validating */, 2) OR state = 3 AND provisional = 1)";
    const DETAILS: &str = "
        UPDATE batch_details SET plan = NULL, line_errors = $2, line_error_count = 0 WHERE batch = $1";
    const SEGMENTS: &str = "DELETE FROM segments WHERE batch = $1";

    let mut tx = store.begin().await?;
    if sqlx::query(RESET).bind(key(id)).bind(key(plan)).execute(&mut *tx).await?.rows_affected() == 0 {
        return Ok(false);
    }
    drop_chunks(&mut tx, id).await?;
    sqlx::query(SEGMENTS).bind(key(id)).execute(&mut *tx).await?;
    sqlx::query(DETAILS).bind(key(id)).bind(Vec::<u8>::new()).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(true)
}

/// Removes the chunks of a plan that does not stand; their leases go with them.
pub(super) async fn drop_chunks(tx: &mut Connection, id: BatchId) -> Result<(), Error> {
    const CHUNKS: &str = "DELETE FROM chunks WHERE batch = $1";
    const COUNT: &str = "UPDATE batches SET chunks = 0, chunks_done = 0 WHERE id = $1";

    sqlx::query(CHUNKS).bind(key(id)).execute(&mut *tx).await?;
    sqlx::query(COUNT).bind(key(id)).execute(&mut *tx).await?;
    Ok(())
}

pub(super) async fn plan_of(store: &Database, id: BatchId) -> Result<Option<PlanId>, Error> {
    const PLAN: &str = "SELECT plan_key FROM batches WHERE id = $1";

    let row = sqlx::query(PLAN).bind(key(id)).fetch_optional(&store.read).await?;
    row.map_or(Ok(None), |row| Cells::of("batches", &row).id_or_none("plan_key"))
}

pub(super) async fn add_chunks(
    store: &Database,
    id: BatchId,
    plan: PlanId,
    chunks: &[NewChunk],
) -> Result<(), Error> {
    const COUNT: &str = "
        UPDATE batches SET chunks = chunks + $2, revision = revision + 1
        WHERE id = $1 AND state = 2 /* planning */ AND plan_key = $3";
    const INSERT: &str = "
        INSERT INTO chunks (batch, number, plan_group, share, share_head, stealable, model, kinds, context, size, done)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

    let mut tx = store.begin().await?;
    let count = i64::try_from(chunks.len()).unwrap_or(i64::MAX);
    if sqlx::query(COUNT).bind(key(id)).bind(count).bind(key(plan)).execute(&mut *tx).await?.rows_affected()
        == 0
    {
        // Cancelled or planned anew in the meantime: `activate` will say so.
        return Ok(());
    }
    for chunk in chunks {
        sqlx::query(INSERT)
            .bind(key(id))
            .bind(chunk.number)
            .bind(chunk.group)
            .bind(chunk.share)
            .bind(i32::from(chunk.share_head))
            .bind(i32::from(chunk.stealable))
            .bind(&chunk.model)
            .bind(chunk.kinds)
            .bind(chunk.context)
            .bind(chunk.size)
            .bind(bits::clear(usize::try_from(chunk.size).unwrap_or_default()))
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Prompt tokens of a request on the average, rounded up. Bounded, since clients may state what they are: sixteen
/// million are more than any context has, and their sums do not overflow.
fn request_tokens(planned: &Planned) -> i64 {
    let requests = planned.total - planned.rejected.map_or(0, |rejected| rejected.records);
    let tokens = planned.plan.prompt_tokens_without.max(0);
    if requests > 0 { (tokens / requests + i64::from(tokens % requests > 0)).min(1 << 24) } else { 0 }
}

pub(super) async fn activate(
    store: &Database,
    id: BatchId,
    planned: &Planned,
    now: Micros,
) -> Result<bool, Error> {
    const ACTIVATE: &str = "
        UPDATE batches SET
            state = CASE WHEN chunks = 0 THEN 6 /* finalizing */ WHEN held = 1 THEN 5 /* paused */
                         ELSE 3 /* queued */ END,
            reason = '', message = '', total = $2, failed = $3, next_segment = $4, provisional = $5, planned = $6,
            request_tokens = $8, revision = revision + 1
        WHERE id = $1 AND state = 2 /* planning */ AND plan_key = $7
        RETURNING chunks";

    chunks::added(&store.write, planned.chunks).await?;
    let mut tx = store.begin().await?;
    let row = sqlx::query(ACTIVATE)
        .bind(key(id))
        .bind(planned.total)
        .bind(planned.rejected.map_or(0, |rejected| rejected.records))
        .bind(i64::from(planned.rejected.is_some()))
        .bind(i32::from(planned.provisional))
        .bind(now)
        .bind(key(planned.id))
        .bind(request_tokens(planned))
        .fetch_optional(&mut *tx)
        .await?;
    let Some(row) = row else { return Ok(false) };
    let added: i64 = row.try_get("chunks")?;
    if added != planned.chunks {
        let what = format!("{added} chunks were added and {} planned", planned.chunks);
        return Err(Error::Corrupt { table: "batches", what });
    }
    if let Some(rejected) = planned.rejected {
        let pieces = vec![Piece {
            chunk: None,
            offset: 0,
            bytes: rejected.bytes,
            records: rejected.records,
            mask: Vec::new(),
        }];
        let segment = Registration { batch: id, number: 0, id: rejected.id, bytes: rejected.bytes, pieces };
        register(&mut tx, segment).await?;
    }
    set_details(&mut tx, id, Some(&planned.plan), &planned.line_errors, planned.line_error_count).await?;
    tx.commit().await?;
    Ok(true)
}

pub(super) async fn reject(
    store: &Database,
    id: BatchId,
    rejected: &Rejected,
    now: Micros,
) -> Result<bool, Error> {
    const REJECT: &str = "
        UPDATE batches SET
            state = 8 /* failed */, reason = $2, message = $3, total = $4, error_file = $5, ended = $6,
            failed = $7, revision = revision + 1
        WHERE id = $1 AND state IN (1 /* validating */, 2 /* planning */)";

    let mut tx = store.begin().await?;
    let done = sqlx::query(REJECT)
        .bind(key(id))
        .bind(&rejected.reason)
        .bind(&rejected.message)
        .bind(rejected.total)
        .bind(rejected.error_file.map(key))
        .bind(now)
        .bind(rejected.failed)
        .execute(&mut *tx)
        .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    drop_chunks(&mut tx, id).await?;
    set_details(&mut tx, id, None, &rejected.line_errors, rejected.line_error_count).await?;
    tx.commit().await?;
    Ok(true)
}

async fn set_details(
    tx: &mut Connection,
    id: BatchId,
    plan: Option<&v1::Plan>,
    line_errors: &[v1::LineError],
    line_error_count: i64,
) -> Result<(), Error> {
    const DETAILS: &str = "
        UPDATE batch_details SET plan = $2, line_errors = $3, line_error_count = $4 WHERE batch = $1";

    sqlx::query(DETAILS)
        .bind(key(id))
        .bind(plan.map(|plan| plan.encode_to_vec()))
        .bind(LineErrors { values: line_errors.to_vec() }.encode_to_vec())
        .bind(line_error_count)
        .execute(tx)
        .await?;
    Ok(())
}
