//! Batches held, let go on, and ended by their completion window.

use caravan_proto::name::BatchId;

use super::{
    super::{Connection, Database, Hold, hold},
    batches::{revoke_all, state, step},
    cells::{Cells, key},
    planning::drop_chunks,
};
use crate::store::{Cancellation, Error, Micros, State};

pub(super) async fn pause(store: &Database, id: BatchId) -> Result<Option<State>, Error> {
    const PAUSE: &str = "
        UPDATE batches SET
            held = 1, state = CASE WHEN state IN (3 /* queued */, 4 /* running */) THEN 5 /* paused */ ELSE state END,
            reason = '', message = '', revision = revision + 1
        WHERE id = $1 AND (state IN (3, 4) OR state IN (1 /* validating */, 2 /* planning */) AND held = 0)";

    set(store, id, PAUSE).await
}

pub(super) async fn resume(store: &Database, id: BatchId) -> Result<Option<State>, Error> {
    const RESUME: &str = "
        UPDATE batches SET
            held = 0,
            state = CASE WHEN state <> 5 THEN state WHEN started IS NULL THEN 3 /* queued */ ELSE 4 /* running */ END,
            reason = '', message = '', revision = revision + 1
        WHERE id = $1 AND (state = 5 /* paused */ OR state IN (1 /* validating */, 2 /* planning */) AND held = 1)";

    set(store, id, RESUME).await
}

async fn set(store: &Database, id: BatchId, statement: &'static str) -> Result<Option<State>, Error> {
    let mut tx = store.begin().await?;
    hold(&mut tx, Hold::Alone(id)).await?;
    sqlx::query(statement).bind(key(id)).execute(&mut *tx).await?;
    let state = state(&mut tx, id).await?;
    tx.commit().await?;
    Ok(state)
}

pub(super) async fn end_overdue(
    store: &Database,
    now: Micros,
    limit: i64,
) -> Result<Vec<(BatchId, Cancellation)>, Error> {
    const OVERDUE: &str = "
        SELECT id FROM batches
        WHERE ended IS NULL AND deadline <= $1 AND state IN (1, 2, 3, 4, 5) ORDER BY deadline LIMIT $2";

    let rows = sqlx::query(OVERDUE).bind(now).bind(limit).fetch_all(&store.read).await?;
    let mut ended = Vec::with_capacity(rows.len());
    for row in &rows {
        let id = Cells::of("batches", row).id("id")?;
        let mut tx = store.begin().await?;
        hold(&mut tx, Hold::Alone(id)).await?;
        if let Some(outcome) = expire(&mut tx, id, now).await? {
            tx.commit().await?;
            ended.push((id, outcome));
        }
    }
    Ok(ended)
}

/// None if it is not overdue any more: it was ended in the meantime, by another replica or by its requests.
async fn expire(tx: &mut Connection, id: BatchId, now: Micros) -> Result<Option<Cancellation>, Error> {
    const EXPIRE: &str = "
        UPDATE batches SET
            state = 6 /* finalizing */, expired = 1, reason = 'COMPLETION_WINDOW_ENDED',
            message = 'the completion window ended: what is finished is kept', revision = revision + 1
        WHERE id = $1 AND deadline <= $2 AND state IN (3 /* queued */, 4 /* running */, 5 /* paused */)";

    if sqlx::query(EXPIRE).bind(key(id)).bind(now).execute(&mut *tx).await?.rows_affected() == 1 {
        let revoked = revoke_all(&mut *tx, id).await?;
        return Ok(Some(Cancellation { state: State::Finalizing, revoked }));
    }
    if step(&mut *tx, id, &[State::Validating, State::Planning], State::Expired, now).await? {
        drop_chunks(&mut *tx, id).await?;
        return Ok(Some(Cancellation { state: State::Expired, revoked: Vec::new() }));
    }
    Ok(None)
}

pub(super) async fn retries(store: &Database, id: BatchId, limit: i64) -> Result<Vec<BatchId>, Error> {
    const RETRIES: &str = "SELECT id FROM batches WHERE retried_from = $1 ORDER BY id LIMIT $2";

    let rows = sqlx::query(RETRIES).bind(key(id)).bind(limit).fetch_all(&store.read).await?;
    rows.iter().map(|row| Cells::of("batches", row).id("id")).collect()
}
