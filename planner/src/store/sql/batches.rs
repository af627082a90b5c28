//! Batches from creation to deletion; what planning does is in `planning`.

use std::num::NonZeroU64;

use caravan_proto::{
    Tenant,
    name::{BatchId, ExecutorId, LeaseId},
    v1,
};
use prost::Message as _;

use super::{
    super::{Connection, Database, Hold, Row, hold, keys, statements::REVISIONS},
    Reader,
    cells::{Cells, key},
    messages::LineErrors,
    tenants::scoped,
};
use crate::clock;
use crate::store::{
    Batch, Cancellation, Creation, Error, Exceeded, Micros, NewBatch, NewFile, OpenBatch, Outputs, Pin,
    Quota, Retry, State,
};

/// Batches with what is read of them. By name here as in every statement: a later version's columns change
/// nothing for a planner that runs beside it.
macro_rules! batches {
    ($which:literal) => {
        concat!(
            "SELECT id, tenant, spec, input, state, reason, message, total, succeeded, failed,
                    chunks, chunks_done, chunks_running, prompt_tokens, prompt_basis, evaluated_tokens,
                    cached_tokens, cache_basis, completion_tokens, plan, pins, next_segment, provisional,
                    output_file, error_file, line_errors, line_error_count, created, planned, started,
                    last_commit, ended, deadline, expired, held, retried_from, retry_kinds, revision
             FROM whole_batches ",
            $which
        )
    };
}

const BY_ID: &str = batches!("WHERE id = $1");
const BY_ID_AND_TENANT: &str = batches!("WHERE id = $1 AND tenant = $2");

pub(super) async fn create(store: &Database, batch: &NewBatch) -> Result<Creation, Error> {
    const INPUT: &str = "SELECT EXISTS (SELECT 1 FROM files WHERE id = $1 AND tenant = $2 AND ready = 1)";
    const INSERT: &str = "
        INSERT INTO batches (id, tenant, request_id, input, priority, state, created, deadline, retention, retried_from,
                             retry_kinds)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        ON CONFLICT (request_id) DO NOTHING";
    const DETAILS: &str = "INSERT INTO batch_details (batch, spec, defaults) VALUES ($1, $2, $3)";

    let (mut spec, mut tx) = (batch.spec.clone(), store.begin().await?);
    let given = std::mem::take(&mut spec.defaults);
    hold(&mut tx, Hold::File(batch.input)).await?;
    if let Some(existing) = existing(&mut tx, batch, &spec, &given).await? {
        return Ok(existing);
    }
    if let Some(exceeded) = exceeded(&mut tx, batch).await? {
        // The same request may have come on another way meanwhile, and be what is too much.
        let existing = existing(&mut tx, batch, &spec, &given).await?;
        return Ok(existing.unwrap_or(Creation::Exceeds(exceeded)));
    }
    if let Some(retry) = batch.retry {
        let filename = format!("{}_retry.jsonl", retry.of);
        let (purpose, created) = (v1::file::Purpose::Batch, batch.created);
        let input = NewFile {
            id: batch.input,
            tenant: batch.tenant.clone(),
            upload_id: None,
            filename,
            purpose,
            created,
        };
        super::files::insert(&mut tx, &input).await?;
    } else {
        let ready = sqlx::query_scalar(INPUT).bind(key(batch.input)).bind(batch.tenant.as_str());
        if !ready.fetch_one(&mut *tx).await? {
            return Ok(Creation::NoInput);
        }
    }
    let inserted = sqlx::query(INSERT)
        .bind(key(batch.id))
        .bind(batch.tenant.as_str())
        .bind(batch.request_id.as_deref().map(|key| scoped(&batch.tenant, key)))
        .bind(key(batch.input))
        .bind(batch.spec.priority)
        .bind(State::Validating as i32)
        .bind(batch.created)
        .bind(batch.deadline)
        .bind(batch.spec.retention.map(clock::length))
        .bind(batch.retry.map(|retry| key(retry.of)))
        .bind(batch.retry.map_or(0, |retry| retry.kinds))
        .execute(&mut *tx)
        .await?;
    if inserted.rows_affected() == 0 {
        // The same request came on another way and was faster: it stands now.
        let existing = existing(&mut tx, batch, &spec, &given).await?;
        return existing.ok_or(Error::Database(sqlx::Error::RowNotFound));
    }
    let details = sqlx::query(DETAILS).bind(key(batch.id)).bind(spec.encode_to_vec()).bind(given);
    details.execute(&mut *tx).await?;
    if !batch.spec.webhook.is_empty() {
        super::webhooks::expect(&mut tx, batch.id).await?;
    }
    let created = by_id(&mut *tx, batch.id).await?.ok_or(sqlx::Error::RowNotFound)?;
    tx.commit().await?;
    Ok(Creation::Created(Box::new(created)))
}

/// The limit that the tenant of a new batch has reached. Nobody creates another one of its before this is over.
async fn exceeded(tx: &mut Connection, batch: &NewBatch) -> Result<Option<Exceeded>, Error> {
    const UNDER_WAY: &str = "
        SELECT COUNT(*) AS batches,
               CAST(COALESCE(SUM(request_tokens * (total - succeeded - failed)), 0) AS BIGINT) AS tokens
        FROM batches WHERE tenant = $1 AND ended IS NULL";

    let Quota { open_batches, queued_tokens } = batch.quota;
    if open_batches.is_none() && queued_tokens.is_none() {
        return Ok(None);
    }
    hold(&mut *tx, Hold::Tenant(&batch.tenant)).await?;
    let row = sqlx::query(UNDER_WAY).bind(batch.tenant.as_str()).fetch_one(tx).await?;
    let cells = Cells::of("batches", &row);
    let (batches, queued): (i64, i64) = (cells.get("batches")?, cells.get("tokens")?);
    let is_reached = |limit: &NonZeroU64, so_far: i64| so_far.unsigned_abs() >= limit.get();
    let batches = open_batches.filter(|limit| is_reached(limit, batches));
    let tokens = queued_tokens.filter(|limit| is_reached(limit, queued));
    Ok(match (batches, tokens) {
        (Some(limit), _) => Some(Exceeded::OpenBatches { limit }),
        (None, Some(limit)) => Some(Exceeded::QueuedTokens { limit, queued }),
        (None, None) => None,
    })
}

/// What the same request created before.
async fn existing(
    tx: &mut Connection,
    batch: &NewBatch,
    spec: &v1::Batch,
    given: &str,
) -> Result<Option<Creation>, Error> {
    let Some(request_id) = &batch.request_id else { return Ok(None) };
    let Some(existing) = by_request(&mut *tx, &batch.tenant, request_id).await? else { return Ok(None) };
    let same = match batch.retry {
        // Each try of it named another file for its input.
        Some(_) => existing.retry == batch.retry,
        // Decoded, for a map has no order when encoded.
        None => {
            existing.spec == *spec
                && existing.input == batch.input
                && defaults(&mut *tx, existing.id).await? == given
        }
    };
    Ok(Some(if same { Creation::Existing(Box::new(existing)) } else { Creation::Reused }))
}

pub(super) async fn by_id(db: impl Reader<'_>, id: BatchId) -> Result<Option<Batch>, Error> {
    sqlx::query(BY_ID).bind(key(id)).fetch_optional(db).await?.as_ref().map(batch).transpose()
}

pub(super) async fn by_tenant(
    db: impl Reader<'_>,
    tenant: &Tenant,
    id: BatchId,
) -> Result<Option<Batch>, Error> {
    let query = sqlx::query(BY_ID_AND_TENANT).bind(key(id)).bind(tenant.as_str());
    query.fetch_optional(db).await?.as_ref().map(batch).transpose()
}

pub(super) async fn by_request(
    db: impl Reader<'_>,
    tenant: &Tenant,
    request_id: &str,
) -> Result<Option<Batch>, Error> {
    const BY_REQUEST: &str = batches!("WHERE request_id = $1");

    let query = sqlx::query(BY_REQUEST).bind(scoped(tenant, request_id));
    query.fetch_optional(db).await?.as_ref().map(batch).transpose()
}

pub(super) async fn defaults(db: impl Reader<'_>, id: BatchId) -> Result<String, Error> {
    const DEFAULTS: &str = "SELECT defaults FROM batch_details WHERE batch = $1";

    Ok(sqlx::query_scalar(DEFAULTS).bind(key(id)).fetch_optional(db).await?.unwrap_or_default())
}

pub(super) async fn list(
    store: &Database,
    tenant: &Tenant,
    states: &[State],
    before: Option<BatchId>,
    limit: i64,
) -> Result<Vec<Batch>, Error> {
    const NEWEST: &str = batches!(
        "WHERE tenant = $4 AND ($1 = 0 OR ((1 << state) & $1) <> 0) AND ($2 IS NULL OR id < $2)
         ORDER BY id DESC LIMIT $3"
    );

    let query =
        sqlx::query(NEWEST).bind(mask(states)).bind(before.map(key)).bind(limit).bind(tenant.as_str());
    query.fetch_all(&store.read).await?.iter().map(batch).collect()
}

pub(super) async fn revisions(store: &Database, ids: &[BatchId]) -> Result<Vec<(BatchId, i64)>, Error> {
    let rows = sqlx::query(REVISIONS).bind(keys(ids)).fetch_all(&store.read).await?;
    let revision = |row| {
        let cells = Cells::of("batches", row);
        Ok((cells.id("id")?, cells.get("revision")?))
    };
    rows.iter().map(revision).collect()
}

pub(super) async fn open(store: &Database) -> Result<Vec<OpenBatch>, Error> {
    const OPEN: &str = "
        SELECT id, state, revision, provisional = 1 AND started IS NULL AS provisional
        FROM batches WHERE ended IS NULL ORDER BY id";

    let rows = sqlx::query(OPEN).fetch_all(&store.read).await?;
    let open = |row| {
        let cells = Cells::of("batches", row);
        Ok(OpenBatch {
            id: cells.id("id")?,
            state: cells.word("state")?,
            revision: cells.get("revision")?,
            provisional: cells.get("provisional")?,
        })
    };
    rows.iter().map(open).collect()
}

pub(super) async fn advance(
    store: &Database,
    id: BatchId,
    from: &[State],
    to: State,
    now: Micros,
) -> Result<bool, Error> {
    let mut tx = store.begin().await?;
    hold(&mut tx, Hold::Alone(id)).await?;
    let moved = step(&mut tx, id, from, to, now).await?;
    if moved && is_terminal(to) {
        revoke_all(&mut tx, id).await?;
    }
    tx.commit().await?;
    Ok(moved)
}

pub(super) async fn explain(
    store: &Database,
    id: BatchId,
    of: &[State],
    reason: &str,
    message: &str,
) -> Result<(), Error> {
    const EXPLAIN: &str = "
        UPDATE batches SET reason = $2, message = $3, revision = revision + 1
        WHERE id = $1 AND ((1 << state) & $4) <> 0 AND ended IS NULL AND (reason <> $2 OR message <> $3)";

    // It may repeat what an engine said; text in PostgreSQL holds no NUL.
    let message = message.replace('\0', "\u{fffd}");
    sqlx::query(EXPLAIN)
        .bind(key(id))
        .bind(reason)
        .bind(message)
        .bind(mask(of))
        .execute(&store.write)
        .await?;
    Ok(())
}

pub(super) async fn cancel(
    store: &Database,
    id: BatchId,
    now: Micros,
) -> Result<Option<Cancellation>, Error> {
    let mut tx = store.begin().await?;
    hold(&mut tx, Hold::Alone(id)).await?;
    let mut revoked = Vec::new();
    if step(&mut tx, id, &[State::Queued, State::Running, State::Paused], State::Cancelling, now).await? {
        revoked = revoke_all(&mut tx, id).await?;
    } else if step(&mut tx, id, &[State::Validating, State::Planning], State::Cancelled, now).await? {
        super::planning::drop_chunks(&mut tx, id).await?;
    }
    let state = state(&mut tx, id).await?;
    tx.commit().await?;
    Ok(state.map(|state| Cancellation { state, revoked }))
}

/// Where a batch stands now.
pub(super) async fn state(tx: &mut Connection, id: BatchId) -> Result<Option<State>, Error> {
    const STATE: &str = "SELECT state FROM batches WHERE id = $1";

    let row = sqlx::query(STATE).bind(key(id)).fetch_optional(tx).await?;
    row.map(|row| Cells::of("batches", &row).word("state")).transpose()
}

pub(super) async fn finish(
    store: &Database,
    id: BatchId,
    outputs: &Outputs,
    now: Micros,
) -> Result<bool, Error> {
    const FINISH: &str = "
        UPDATE batches SET
            state = CASE WHEN state = 9 THEN 10 /* cancelled */ WHEN expired = 1 THEN 11 /* expired */
                         ELSE 7 /* completed */ END,
            output_file = $2, error_file = $3, ended = $4, reason = '', message = '', revision = revision + 1
        WHERE id = $1 AND state IN (6 /* finalizing */, 9 /* cancelling */) AND chunks_done = chunks";

    let done = sqlx::query(FINISH)
        .bind(key(id))
        .bind(outputs.output.map(key))
        .bind(outputs.error.map(key))
        .bind(now)
        .execute(&store.write)
        .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn delete(store: &Database, id: BatchId) -> Result<bool, Error> {
    // The rows of other tables go with it.
    const DELETE: &str = "DELETE FROM batches WHERE id = $1 AND ended IS NOT NULL";

    Ok(sqlx::query(DELETE).bind(key(id)).execute(&store.write).await?.rows_affected() == 1)
}

/// Moves a batch from one of `from` to `to`; the reason of the old state goes.
pub(super) async fn step(
    tx: &mut Connection,
    id: BatchId,
    from: &[State],
    to: State,
    now: Micros,
) -> Result<bool, Error> {
    const STEP: &str = "
        UPDATE batches SET state = $2, ended = $3, reason = '', message = '', revision = revision + 1
        WHERE id = $1 AND ((1 << state) & $4) <> 0";

    let ended = is_terminal(to).then_some(now);
    let query = sqlx::query(STEP).bind(key(id)).bind(to as i32).bind(ended).bind(mask(from));
    Ok(query.execute(tx).await?.rows_affected() == 1)
}

/// Removes every lease of a batch.
pub(super) async fn revoke_all(
    tx: &mut Connection,
    id: BatchId,
) -> Result<Vec<(ExecutorId, LeaseId)>, Error> {
    const QUEUE: &str = "
        UPDATE chunks SET state = 0
        WHERE batch = $1 AND number IN (SELECT chunk FROM leases WHERE batch = $1) AND state = 1";
    const REVOKE: &str = "DELETE FROM leases WHERE batch = $1 RETURNING executor, id";

    sqlx::query(QUEUE).bind(key(id)).execute(&mut *tx).await?;
    let rows = sqlx::query(REVOKE).bind(key(id)).fetch_all(tx).await?;
    let revoked = |row| {
        let cells = Cells::of("leases", row);
        Ok((cells.id("executor")?, cells.id("id")?))
    };
    rows.iter().map(revoked).collect()
}

fn is_terminal(state: State) -> bool {
    matches!(state, State::Completed | State::Failed | State::Cancelled | State::Expired)
}

/// A bit a state, which is how a list of them is bound.
fn mask(states: &[State]) -> i32 {
    states.iter().fold(0, |mask, &state| mask | 1 << state as i32)
}

fn batch(row: &Row) -> Result<Batch, Error> {
    let cells = Cells::of("batches", row);
    Ok(Batch {
        id: cells.id("id")?,
        tenant: cells.tenant("tenant")?,
        spec: cells.message("spec")?,
        input: cells.id("input")?,
        state: cells.word("state")?,
        reason: cells.get("reason")?,
        message: cells.get("message")?,
        requests: v1::RequestCounts {
            total: cells.get("total")?,
            succeeded: cells.get("succeeded")?,
            failed: cells.get("failed")?,
        },
        chunks: v1::ChunkCounts {
            total: cells.get("chunks")?,
            done: cells.get("chunks_done")?,
            running: cells.get("chunks_running")?,
        },
        usage: usage(cells)?,
        plan: cells.message_or_none("plan")?,
        pins: pins(cells)?,
        next_segment: cells.get("next_segment")?,
        provisional: cells.flag("provisional")?,
        outputs: Outputs { output: cells.id_or_none("output_file")?, error: cells.id_or_none("error_file")? },
        line_errors: cells.message::<LineErrors>("line_errors")?.values,
        line_error_count: cells.get("line_error_count")?,
        created: cells.get("created")?,
        planned: cells.get("planned")?,
        started: cells.get("started")?,
        last_commit: cells.get("last_commit")?,
        ended: cells.get("ended")?,
        deadline: cells.get("deadline")?,
        expired: cells.flag("expired")?,
        held: cells.flag("held")?,
        retry: retry(cells)?,
        revision: cells.get("revision")?,
    })
}

/// What a row of batches retries.
fn retry(cells: Cells<'_>) -> Result<Option<Retry>, Error> {
    let kinds = cells.get("retry_kinds")?;
    Ok(cells.id_or_none("retried_from")?.map(|of| Retry { of, kinds }))
}

/// The pins in a row of batches: pairs of model and digest, as JSON.
fn pins(cells: Cells<'_>) -> Result<Vec<Pin>, Error> {
    let pairs: Vec<(String, String)> = cells.json("pins")?;
    Ok(pairs.into_iter().map(|(model, digest)| Pin { model, digest }).collect())
}

/// The tokens in a row of batches.
pub(super) fn usage(cells: Cells<'_>) -> Result<v1::Usage, Error> {
    Ok(v1::Usage {
        prompt_tokens: cells.get("prompt_tokens")?,
        prompt_basis: cells.get("prompt_basis")?,
        evaluated_tokens: cells.get("evaluated_tokens")?,
        cached_tokens: cells.get("cached_tokens")?,
        cache_basis: cells.get("cache_basis")?,
        completion_tokens: cells.get("completion_tokens")?,
    })
}
