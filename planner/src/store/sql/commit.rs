//! Making results final.

use std::collections::BTreeMap;

use caravan_proto::{name::BatchId, v1};
use prost::Message as _;

use super::{
    super::{Connection, Database, Hold, hold, statements::SAVE_CHUNK},
    batches,
    cells::{Cells, key},
    messages::Numbers,
    results::{Registration, register},
};
use crate::store::{
    Commit, Error, Micros, NewSegment,
    accept::{Accepted, Home, accept},
    usage,
};

pub(super) async fn commit(
    store: &Database,
    id: BatchId,
    segment: &NewSegment,
    now: Micros,
) -> Result<Commit, Error> {
    let mut tx = store.begin().await?;
    hold(&mut tx, Hold::Order(id)).await?;
    let Some(account) = account(&mut tx, id).await? else { return Ok(Commit::default()) };
    let mut homes = homes(&mut tx, id, segment).await?;
    let mut accepted = accept(segment, &mut homes);
    if accepted.count() == 0 {
        return Ok(Commit::default());
    }
    for (&chunk, home) in homes.iter().filter(|(_, home)| home.fresh > 0) {
        save(&mut tx, id, chunk, home, account.next_segment).await?;
    }
    let pieces = std::mem::take(&mut accepted.pieces);
    let number = account.next_segment;
    register(&mut tx, Registration { batch: id, number, id: segment.id, bytes: segment.bytes, pieces })
        .await?;
    let done = |(&chunk, home): (&i32, &Home)| (home.fresh > 0 && home.is_done()).then_some(chunk);
    let chunks_done: Vec<i32> = homes.iter().filter_map(done).collect();
    let batch_done = settle(&mut tx, id, &account, &accepted, chunks_done.len(), now).await?;
    tx.commit().await?;
    Ok(Commit { number: Some(number), accepted: accepted.count(), chunks_done, batch_done })
}

/// What a commit reads of the batch's row before it moves it.
struct Account {
    next_segment: i64,
    usage: v1::Usage,
}

/// None if the batch takes no results.
async fn account(tx: &mut Connection, id: BatchId) -> Result<Option<Account>, Error> {
    const ACCOUNT: &str = "
        SELECT next_segment, prompt_tokens, prompt_basis, evaluated_tokens, cached_tokens, cache_basis,
               completion_tokens
        FROM batches
        WHERE id = $1
          AND (state IN (3 /* queued */, 4 /* running */, 5 /* paused */, 9 /* cancelling */)
               OR state = 6 /* finalizing */ AND expired = 1)";

    let Some(row) = sqlx::query(ACCOUNT).bind(key(id)).fetch_optional(tx).await? else { return Ok(None) };
    let cells = Cells::of("batches", &row);
    Ok(Some(Account { next_segment: cells.get("next_segment")?, usage: batches::usage(cells)? }))
}

/// The chunks that the segment names, as far as they exist.
async fn homes(tx: &mut Connection, id: BatchId, segment: &NewSegment) -> Result<BTreeMap<i32, Home>, Error> {
    const HOME: &str = "SELECT size, done_count, done FROM chunks WHERE batch = $1 AND number = $2";

    let mut homes = BTreeMap::new();
    for piece in &segment.pieces {
        if homes.contains_key(&piece.chunk) {
            continue;
        }
        if let Some(row) = sqlx::query(HOME).bind(key(id)).bind(piece.chunk).fetch_optional(&mut *tx).await? {
            let cells = Cells::of("chunks", &row);
            let (size, done_count, done) = (cells.get("size")?, cells.get("done_count")?, cells.get("done")?);
            homes.insert(piece.chunk, Home { size, done_count, done, fresh: 0 });
        }
    }
    Ok(homes)
}

/// Writes a chunk's bits; a chunk that is done has no leases any more.
async fn save(tx: &mut Connection, id: BatchId, chunk: i32, home: &Home, segment: i64) -> Result<(), Error> {
    const RELEASE: &str = "DELETE FROM leases WHERE batch = $1 AND chunk = $2";

    sqlx::query(SAVE_CHUNK)
        .bind(key(id))
        .bind(chunk)
        .bind(&home.done)
        .bind(home.done_count)
        .bind(Numbers { values: vec![segment] }.encode_to_vec())
        .execute(&mut *tx)
        .await?;
    if home.is_done() {
        sqlx::query(RELEASE).bind(key(id)).bind(chunk).execute(tx).await?;
    }
    Ok(())
}

/// Moves the counters and takes the cursor number. True if the batch's last chunk is done.
async fn settle(
    tx: &mut Connection,
    id: BatchId,
    account: &Account,
    accepted: &Accepted,
    chunks_done: usize,
    now: Micros,
) -> Result<bool, Error> {
    const SETTLE: &str = "
        UPDATE batches SET
            next_segment = next_segment + 1, succeeded = succeeded + $2, failed = failed + $3,
            chunks_done = chunks_done + $4, last_commit = $5,
            prompt_tokens = $6, prompt_basis = $7, evaluated_tokens = $8, cached_tokens = $9, cache_basis = $10,
            completion_tokens = $11, revision = revision + 1
        WHERE id = $1
        RETURNING chunks_done = chunks AS batch_done";
    const FINALIZE: &str = "
        UPDATE batches SET state = 6 /* finalizing */, reason = '', message = ''
        WHERE id = $1 AND state NOT IN (6, 9 /* cancelling */)";

    let usage = usage::sum(&account.usage, &accepted.usage);
    let row = sqlx::query(SETTLE)
        .bind(key(id))
        .bind(accepted.succeeded)
        .bind(accepted.failed)
        .bind(i64::try_from(chunks_done).unwrap_or(i64::MAX))
        .bind(now)
        .bind(usage.prompt_tokens)
        .bind(usage.prompt_basis)
        .bind(usage.evaluated_tokens)
        .bind(usage.cached_tokens)
        .bind(usage.cache_basis)
        .bind(usage.completion_tokens)
        .fetch_one(&mut *tx)
        .await?;
    let batch_done = Cells::of("batches", &row).get("batch_done")?;
    if batch_done {
        sqlx::query(FINALIZE).bind(key(id)).execute(tx).await?;
    }
    Ok(batch_done)
}
