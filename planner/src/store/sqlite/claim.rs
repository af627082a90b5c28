//! Giving a chunk to a lane.

use caravan_proto::name::BatchId;
use serde_json::json;

use super::{
    Connection, Database, Row,
    sql::cells::{Cells, key},
};
use crate::store::{Claim, Error, Offer, Pin, Wanted};

/// A statement in which `{pinned}` says of batch `b` and offer `w`, bound as [model, context, digest, pins],
/// that the batch is held to this digest, or to none yet and the offer may pin.
macro_rules! statement {
    ($before:literal {pinned} $after:literal) => {
        concat!(
            $before,
            " COALESCE((SELECT p.digest = w.value ->> 2 FROM pins p
                        WHERE p.batch = b.id AND p.model = w.value ->> 0), w.value ->> 3) ",
            $after
        )
    };
}

/// Binds: models, kind; batch, group and share that the lane is warm for; least priority.
pub(super) const NEXT_OF_SHARE: &str = statement!(
    "
    SELECT c.batch, c.number
    FROM chunks c
    CROSS JOIN batches b ON b.id = c.batch AND b.state IN (3, 4) AND b.provisional = 0 AND b.priority >= $6
    CROSS JOIN json_each($1) w ON w.value ->> 0 = c.model AND (w.value ->> 1 = 0 OR w.value ->> 1 >= c.context)
    WHERE c.state = 0 AND c.batch = $3 AND c.plan_group = $4 AND c.share = $5 AND (c.kinds & $2) <> 0 AND"
    {pinned}
    "ORDER BY c.number LIMIT 1"
);

/// Binds: models, kind, least priority. One step down an index for each claimable batch and model; chunks that the
/// engine is too small for are passed over inside of the index.
pub(super) const HEAD_OF_SHARE: &str = statement!(
    "
    SELECT c.batch, c.number
    FROM batches b INDEXED BY batches_claimable
    CROSS JOIN json_each($1) w
    CROSS JOIN chunks c ON c.rowid = (
        SELECT q.rowid FROM chunks q INDEXED BY chunks_heads
        WHERE q.state = 0 AND q.share_head = 1 AND q.batch = b.id AND q.model = w.value ->> 0
          AND (q.kinds & $2) <> 0 AND (w.value ->> 1 = 0 OR w.value ->> 1 >= q.context)
        ORDER BY q.number LIMIT 1)
    WHERE b.state IN (3, 4) AND b.provisional = 0 AND b.priority >= $3 AND"
    {pinned}
    "ORDER BY b.priority DESC, b.id, c.number LIMIT 1"
);

/// Binds: models, kind. The highest priority that has anything queued.
pub(super) const HIGHEST_PRIORITY: &str = statement!(
    "
    SELECT b.priority
    FROM batches b INDEXED BY batches_claimable
    CROSS JOIN json_each($1) w
    WHERE b.state IN (3, 4) AND b.provisional = 0 AND"
    {pinned}
    "AND EXISTS (
        SELECT 1 FROM chunks q INDEXED BY chunks_queued
        WHERE q.state = 0 AND q.batch = b.id AND q.model = w.value ->> 0
          AND (q.kinds & $2) <> 0 AND (w.value ->> 1 = 0 OR w.value ->> 1 >= q.context))
    ORDER BY b.priority DESC, b.id LIMIT 1"
);

/// Binds: models, kind, least priority. As `HEAD_OF_SHARE`, from the tail: what is worth a theft, or
/// belongs to a share that no lane is at any more.
pub(super) const LAST_OF_ANY: &str = statement!(
    "
    SELECT c.batch, c.number
    FROM batches b INDEXED BY batches_claimable
    CROSS JOIN json_each($1) w
    CROSS JOIN chunks c ON c.rowid = (
        SELECT q.rowid FROM chunks q INDEXED BY chunks_queued
        WHERE q.state = 0 AND q.batch = b.id AND q.model = w.value ->> 0
          AND (q.kinds & $2) <> 0 AND (w.value ->> 1 = 0 OR w.value ->> 1 >= q.context)
          AND (q.stealable = 1 OR NOT EXISTS (
              SELECT 1 FROM leases l JOIN chunks o ON o.batch = l.batch AND o.number = l.chunk
              WHERE l.batch = q.batch AND l.expired = 0 AND o.plan_group = q.plan_group AND o.share = q.share))
        ORDER BY q.number DESC LIMIT 1)
    WHERE b.state IN (3, 4) AND b.provisional = 0 AND b.priority >= $3 AND"
    {pinned}
    "ORDER BY b.priority DESC, b.id, c.number DESC LIMIT 1"
);

pub(super) async fn claim(store: &Database, wanted: &Wanted) -> Result<Option<Claim>, Error> {
    let mut tx = store.begin().await?;
    let Some((batch, chunk)) = pick(&mut tx, wanted).await? else { return Ok(None) };
    let Some(claim) = take(&mut tx, wanted, batch, chunk).await? else { return Ok(None) };
    let Some(pinned) = pin(&mut tx, &claim).await? else { return Ok(None) };
    lease(&mut tx, wanted, &claim).await?;
    run(&mut tx, wanted, batch, pinned).await?;
    tx.commit().await?;
    Ok(Some(claim))
}

async fn pick(tx: &mut Connection, wanted: &Wanted) -> Result<Option<(BatchId, i32)>, Error> {
    let offer = |offer: &Offer| json!([offer.model, offer.context, offer.digest, offer.pins]);
    let models = serde_json::Value::from_iter(wanted.models.iter().map(offer)).to_string();
    let highest = sqlx::query(HIGHEST_PRIORITY).bind(&models).bind(wanted.kind);
    let Some(highest) = highest.fetch_optional(&mut *tx).await? else { return Ok(None) };
    // A warm lane saves a prefix; that is no reason to let a higher priority wait. Where all that is left
    // of it is other lanes' own, a lower one is better than nothing.
    let priority: i64 = Cells::of("batches", &highest).get("priority")?;
    match best(tx, wanted, &models, priority).await? {
        None => best(tx, wanted, &models, i64::MIN).await,
        found => Ok(found),
    }
}

/// The best chunk of a batch with at least this priority.
async fn best(
    tx: &mut Connection,
    wanted: &Wanted,
    models: &str,
    priority: i64,
) -> Result<Option<(BatchId, i32)>, Error> {
    if let Some(warm) = wanted.warm {
        let next = sqlx::query(NEXT_OF_SHARE)
            .bind(models)
            .bind(wanted.kind)
            .bind(key(warm.batch))
            .bind(warm.group)
            .bind(warm.share)
            .bind(priority);
        if let Some(row) = next.fetch_optional(&mut *tx).await? {
            return place(&row).map(Some);
        }
    }
    for query in [HEAD_OF_SHARE, LAST_OF_ANY] {
        let found = sqlx::query(query).bind(models).bind(wanted.kind).bind(priority);
        if let Some(row) = found.fetch_optional(&mut *tx).await? {
            return place(&row).map(Some);
        }
    }
    Ok(None)
}

fn place(row: &Row) -> Result<(BatchId, i32), Error> {
    let cells = Cells::of("chunks", row);
    Ok((cells.id("batch")?, cells.get("number")?))
}

/// The states are said again: a claim must never rest on what was read before.
async fn take(
    tx: &mut Connection,
    wanted: &Wanted,
    batch: BatchId,
    chunk: i32,
) -> Result<Option<Claim>, Error> {
    const TAKE: &str = "
        UPDATE chunks SET state = 1, epoch = epoch + 1
        WHERE batch = $1 AND number = $2 AND state = 0
          AND EXISTS (SELECT 1 FROM batches WHERE id = $1 AND state IN (3, 4) AND provisional = 0)
        RETURNING plan_group, share, model, epoch, size, done";

    let row = sqlx::query(TAKE).bind(key(batch)).bind(chunk).fetch_optional(tx).await?;
    let claim = |row: Row| {
        let cells = Cells::of("chunks", &row);
        let model: String = cells.get("model")?;
        let offer = wanted.models.iter().find(|offer| offer.model == model);
        Ok(Claim {
            batch,
            chunk,
            group: cells.get("plan_group")?,
            share: cells.get("share")?,
            digest: offer.map(|offer| offer.digest.clone()).unwrap_or_default(),
            model,
            epoch: cells.get("epoch")?,
            size: cells.get("size")?,
            done: cells.get("done")?,
        })
    };
    row.map(claim).transpose()
}

/// The first lease of a model holds the batch to its engine's digest; true if this is it. None if the
/// batch is held to another: then the claim must not stand.
async fn pin(tx: &mut Connection, claim: &Claim) -> Result<Option<bool>, Error> {
    const PIN: &str = "INSERT INTO pins (batch, model, digest) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    const PINNED: &str = "SELECT digest = $3 FROM pins WHERE batch = $1 AND model = $2";

    let pin = sqlx::query(PIN).bind(key(claim.batch)).bind(&claim.model).bind(&claim.digest);
    if pin.execute(&mut *tx).await?.rows_affected() == 1 {
        return Ok(Some(true));
    }
    let pinned = sqlx::query_scalar(PINNED).bind(key(claim.batch)).bind(&claim.model).bind(&claim.digest);
    let same: bool = pinned.fetch_one(tx).await?;
    Ok(same.then_some(false))
}

pub(super) async fn waiting_pins(store: &Database, id: BatchId) -> Result<Vec<Pin>, Error> {
    const WAITING: &str = "
        SELECT p.model, p.digest FROM pins p
        WHERE p.batch = $1 AND EXISTS (
            SELECT 1 FROM chunks q INDEXED BY chunks_queued
            WHERE q.state = 0 AND q.batch = p.batch AND q.model = p.model)
        ORDER BY p.model";

    let pin = |row: &Row| {
        let cells = Cells::of("pins", row);
        Ok(Pin { model: cells.get("model")?, digest: cells.get("digest")? })
    };
    sqlx::query(WAITING).bind(key(id)).fetch_all(&store.read).await?.iter().map(pin).collect()
}

/// From now on an expired lease of the chunk cannot be revived.
async fn lease(tx: &mut Connection, wanted: &Wanted, claim: &Claim) -> Result<(), Error> {
    const FORGET: &str = "DELETE FROM leases WHERE batch = $1 AND chunk = $2 AND expired = 1";
    const LEASE: &str = "
        INSERT INTO leases (id, batch, chunk, epoch, executor, engine, lane, deadline)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

    sqlx::query(FORGET).bind(key(claim.batch)).bind(claim.chunk).execute(&mut *tx).await?;
    sqlx::query(LEASE)
        .bind(key(wanted.lease))
        .bind(key(claim.batch))
        .bind(claim.chunk)
        .bind(claim.epoch)
        .bind(key(wanted.executor))
        .bind(&wanted.engine)
        .bind(wanted.lane)
        .bind(wanted.deadline)
        .execute(tx)
        .await?;
    Ok(())
}

/// The batch's row is touched by the first lease of a model, and to take back what was said of its
/// waiting; so claims of a running batch do not meet there.
async fn run(tx: &mut Connection, wanted: &Wanted, batch: BatchId, pinned: bool) -> Result<(), Error> {
    const RUN: &str = "
        UPDATE batches SET
            state = 4 /* running */, started = COALESCE(started, $2), provisional = 0, reason = '', message = '',
            revision = revision + 1
        WHERE id = $1 AND (state = 3 /* queued */ OR started IS NULL OR reason <> '' OR message <> '' OR $3)";

    sqlx::query(RUN).bind(key(batch)).bind(wanted.now).bind(pinned).execute(tx).await?;
    Ok(())
}
