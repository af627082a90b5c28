//! Giving a chunk to a lane.

use caravan_proto::name::BatchId;
use serde_json::json;

use super::{
    super::{
        Connection, Database, Hold, Row, hold,
        statements::{
            HEAD_OF_SHARE, HIGHEST_PRIORITY, JOIN_BATCH, LAST_OF_ANY, NEXT_OF_SHARE, OWN_BATCH, WAITING_PINS,
        },
    },
    cells::{Cells, key},
};
use crate::store::{Claim, Error, Offer, Pin, Wanted};

/// A claim that meets a transition of its batch begins anew after it. Transitions take milliseconds and are
/// few: who has met as many gets nothing this time.
const TRIES: usize = 8;

enum Attempt {
    Claimed(Claim),
    /// Nothing is queued that suits.
    Nothing,
    /// Somebody else has the batch, for a moment.
    Met(BatchId),
}

pub(super) async fn claim(store: &Database, wanted: &Wanted) -> Result<Option<Claim>, Error> {
    let mut met = None;
    for _ in 0..TRIES {
        match attempt(store, wanted, met).await? {
            Attempt::Claimed(claim) => return Ok(Some(claim)),
            Attempt::Nothing => return Ok(None),
            Attempt::Met(batch) => met = Some(batch),
        }
    }
    Ok(None)
}

/// Waits for nobody but who has `met`, and before it holds anything itself.
async fn attempt(store: &Database, wanted: &Wanted, met: Option<BatchId>) -> Result<Attempt, Error> {
    let mut tx = store.begin().await?;
    if let Some(batch) = met {
        hold(&mut tx, Hold::Order(batch)).await?;
    }
    let Some((batch, chunk)) = pick(&mut tx, wanted).await? else { return Ok(Attempt::Nothing) };
    // Said again: a claim must never rest on what was read before.
    let joined = sqlx::query_scalar(JOIN_BATCH).bind(key(batch)).fetch_optional(&mut *tx).await?;
    let Some(waits) = joined else { return Ok(Attempt::Met(batch)) };
    let Some(claim) = take(&mut tx, wanted, batch, chunk).await? else { return Ok(Attempt::Met(batch)) };
    let Some(pinned) = pin(&mut tx, &claim).await? else { return Ok(Attempt::Met(batch)) };
    lease(&mut tx, wanted, &claim).await?;
    // The batch's row is touched by the first lease of a model, and to take back what was said of its
    // waiting; so claims of a running batch do not meet there.
    if waits || pinned {
        let own: Option<i32> =
            sqlx::query_scalar(OWN_BATCH).bind(key(batch)).fetch_optional(&mut *tx).await?;
        if own.is_none() {
            return Ok(Attempt::Met(batch));
        }
        run(&mut tx, wanted, batch).await?;
    }
    tx.commit().await?;
    Ok(Attempt::Claimed(claim))
}

async fn pick(tx: &mut Connection, wanted: &Wanted) -> Result<Option<(BatchId, i32)>, Error> {
    let offer = |offer: &Offer| json!([offer.model, offer.context, offer.digest, offer.pins]);
    let models = serde_json::Value::from_iter(wanted.models.iter().map(offer)).to_string();
    let highest = sqlx::query(HIGHEST_PRIORITY).bind(&models).bind(wanted.kind);
    let Some(highest) = highest.fetch_optional(&mut *tx).await? else { return Ok(None) };
    // A warm lane saves a prefix; that is no reason to let a higher priority wait. Where all that is left
    // of it is other lanes' own, a lower one is better than nothing.
    let priority: i32 = Cells::of("batches", &highest).get("priority")?;
    match best(tx, wanted, &models, priority).await? {
        None => best(tx, wanted, &models, i32::MIN).await,
        found => Ok(found),
    }
}

/// The best chunk of a batch with at least this priority.
async fn best(
    tx: &mut Connection,
    wanted: &Wanted,
    models: &str,
    priority: i32,
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

async fn take(
    tx: &mut Connection,
    wanted: &Wanted,
    batch: BatchId,
    chunk: i32,
) -> Result<Option<Claim>, Error> {
    const TAKE: &str = "
        UPDATE chunks SET state = 1, epoch = epoch + 1
        WHERE batch = $1 AND number = $2 AND state = 0
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
    let pin = |row: &Row| {
        let cells = Cells::of("pins", row);
        Ok(Pin { model: cells.get("model")?, digest: cells.get("digest")? })
    };
    sqlx::query(WAITING_PINS).bind(key(id)).fetch_all(&store.read).await?.iter().map(pin).collect()
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

async fn run(tx: &mut Connection, wanted: &Wanted, batch: BatchId) -> Result<(), Error> {
    const RUN: &str = "
        UPDATE batches SET
            state = 4 /* running */, started = COALESCE(started, $2), provisional = 0, reason = '', message = '',
            revision = revision + 1
        WHERE id = $1";

    sqlx::query(RUN).bind(key(batch)).bind(wanted.now).execute(tx).await?;
    Ok(())
}
