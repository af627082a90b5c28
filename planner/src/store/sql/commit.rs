//! Making results final.

use std::collections::BTreeMap;

use caravan_proto::{Tenant, name::BatchId, v1};
use prost::Message as _;

use super::{
    super::{
        Connection, Database, Hold, chunks, hold, numbers,
        statements::{HOMES, RELEASE},
    },
    batches,
    cells::{Cells, key},
    messages::Numbers,
    results::{Registration, register},
    runs, usage,
};
use crate::{
    clock,
    store::{
        Commit, Error, Micros, NewSegment, Tally,
        accept::{Home, accept},
        usage::sum,
    },
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
    let total = accepted.total();
    if total.requests() == 0 {
        return Ok(Commit::default());
    }
    let number = account.next_segment;
    let chunks_done = save(&mut tx, id, &homes, number).await?;
    let batch_done =
        settle(&mut tx, id, &account, (&total, accepted.pieces.len()), chunks_done.len(), now).await?;
    let loose = account.loose_pieces + accepted.pieces.len() as i64;
    let pieces = std::mem::take(&mut accepted.pieces);
    register(&mut tx, Registration { batch: id, number, id: segment.id, bytes: segment.bytes, pieces })
        .await?;
    if batch_done || loose >= runs::PIECES {
        runs::fold(&mut tx, id, account.loose_from, number).await?;
    }
    usage::add(&mut tx, &account.tenant, clock::day(now), &accepted).await?;
    tx.commit().await?;
    Ok(Commit { number: Some(number), accepted: total.requests(), chunks_done, batch_done })
}

/// What a commit reads of the batch's row before it moves it.
struct Account {
    tenant: Tenant,
    next_segment: i64,
    loose_from: i64,
    loose_pieces: i64,
    usage: v1::Usage,
}

/// None if the batch takes no results.
async fn account(tx: &mut Connection, id: BatchId) -> Result<Option<Account>, Error> {
    const ACCOUNT: &str = "
        SELECT tenant, next_segment, loose_from, loose_pieces, prompt_tokens, prompt_basis, evaluated_tokens, cached_tokens, cache_basis,
               completion_tokens
        FROM batches
        WHERE id = $1
          AND (state IN (3 /* queued */, 4 /* running */, 5 /* paused */, 9 /* cancelling */)
               OR state = 6 /* finalizing */ AND expired = 1)";

    let Some(row) = sqlx::query(ACCOUNT).bind(key(id)).fetch_optional(tx).await? else { return Ok(None) };
    let cells = Cells::of("batches", &row);
    Ok(Some(Account {
        tenant: cells.tenant("tenant")?,
        next_segment: cells.get("next_segment")?,
        loose_from: cells.get("loose_from")?,
        loose_pieces: cells.get("loose_pieces")?,
        usage: batches::usage(cells)?,
    }))
}

/// The chunks that the segment names, as far as they exist.
async fn homes(tx: &mut Connection, id: BatchId, segment: &NewSegment) -> Result<BTreeMap<i32, Home>, Error> {
    let named: Vec<i64> = segment.pieces.iter().map(|piece| piece.chunk.into()).collect();
    let rows = sqlx::query(HOMES).bind(key(id)).bind(numbers(&named)).fetch_all(tx).await?;
    let home = |row| {
        let cells = Cells::of("chunks", row);
        let (size, done_count, done) = (cells.get("size")?, cells.get("done_count")?, cells.get("done")?);
        Ok((cells.get("number")?, Home { model: cells.get("model")?, size, done_count, done, fresh: 0 }))
    };
    rows.iter().map(home).collect()
}

/// Writes the bits of chunks; those that are done have no leases any more. Gives these.
async fn save(
    tx: &mut Connection,
    id: BatchId,
    homes: &BTreeMap<i32, Home>,
    segment: i64,
) -> Result<Vec<i32>, Error> {
    let fresh: Vec<(i32, &Home)> =
        homes.iter().filter(|(_, home)| home.fresh > 0).map(|(number, home)| (*number, home)).collect();
    chunks::save(tx, id, &fresh, &Numbers { values: vec![segment] }.encode_to_vec()).await?;
    let done = fresh.iter().filter(|(_, home)| home.is_done()).map(|(number, _)| *number);
    let done: Vec<i32> = done.collect();
    if !done.is_empty() {
        let list: Vec<i64> = done.iter().copied().map(i64::from).collect();
        sqlx::query(RELEASE).bind(key(id)).bind(numbers(&list)).execute(tx).await?;
    }
    Ok(done)
}

/// Moves the counters and takes the cursor number. True if the batch's last chunk is done.
async fn settle(
    tx: &mut Connection,
    id: BatchId,
    account: &Account,
    (new, pieces): (&Tally, usize),
    chunks_done: usize,
    now: Micros,
) -> Result<bool, Error> {
    const SETTLE: &str = "
        UPDATE batches SET
            next_segment = next_segment + 1, loose_pieces = loose_pieces + $12, succeeded = succeeded + $2, failed = failed + $3,
            chunks_done = chunks_done + $4, last_commit = $5,
            prompt_tokens = $6, prompt_basis = $7, evaluated_tokens = $8, cached_tokens = $9, cache_basis = $10,
            completion_tokens = $11, revision = revision + 1
        WHERE id = $1
        RETURNING chunks_done = chunks AS batch_done";
    const FINALIZE: &str = "
        UPDATE batches SET state = 6 /* finalizing */, reason = '', message = ''
        WHERE id = $1 AND state NOT IN (6, 9 /* cancelling */)";

    let usage = sum(&account.usage, &new.usage);
    let row = sqlx::query(SETTLE)
        .bind(key(id))
        .bind(new.succeeded)
        .bind(new.failed)
        .bind(i64::try_from(chunks_done).unwrap_or(i64::MAX))
        .bind(now)
        .bind(usage.prompt_tokens)
        .bind(usage.prompt_basis)
        .bind(usage.evaluated_tokens)
        .bind(usage.cached_tokens)
        .bind(usage.cache_basis)
        .bind(usage.completion_tokens)
        .bind(pieces as i64)
        .fetch_one(&mut *tx)
        .await?;
    let batch_done = Cells::of("batches", &row).get("batch_done")?;
    if batch_done {
        sqlx::query(FINALIZE).bind(key(id)).execute(tx).await?;
    }
    Ok(batch_done)
}
