//! Giving a chunk to a lane.

use std::collections::HashSet;

use caravan_proto::name::BatchId;
use serde_json::json;
use sqlx::{Row as _, Transaction};

use super::{
    super::{
        Connection, Database, Db, Hold, Row, hold,
        statements::{
            HEAD_OF_SHARE, HIGHEST_PRIORITY, JOIN_BATCH, LAST_OF_ANY, NEXT_OF_SHARE, OWN_BATCH, WAITING_PINS,
        },
    },
    cells::{Cells, key},
};
use crate::store::{Claim, Error, Offer, Pin, Wanted};

/// A claim that meets somebody at its batch begins anew once he is gone. That takes milliseconds and is rare: who
/// has met as many gets nothing this time.
const TRIES: usize = 8;

/// A chunk that nobody else can take until the transaction ends.
struct Place {
    batch: BatchId,
    chunk: i32,
    model: String,
}

enum Attempt {
    Claimed(Claim),
    /// Nothing is queued that suits.
    Nothing,
    /// Somebody else has the batch, for a moment; nothing was written.
    Met(BatchId),
}

pub(super) async fn claim(store: &Database, wanted: &[Wanted]) -> Result<Vec<Option<Claim>>, Error> {
    let mut claims = Vec::with_capacity(wanted.len());
    let mut barren = HashSet::new();
    let mut tx = store.begin().await?;
    for wanted in wanted {
        let claim = match barren.contains(&wanted.qualification()) {
            true => None,
            false => one(store, &mut tx, wanted).await?,
        };
        if claim.is_none() {
            barren.insert(wanted.qualification());
        }
        claims.push(claim);
    }
    tx.commit().await?;
    Ok(claims)
}

async fn one(
    store: &Database,
    tx: &mut Transaction<'static, Db>,
    wanted: &Wanted,
) -> Result<Option<Claim>, Error> {
    for _ in 0..TRIES {
        match attempt(tx, wanted).await? {
            Attempt::Claimed(claim) => return Ok(Some(claim)),
            Attempt::Nothing => return Ok(None),
            Attempt::Met(batch) => {
                // Waiting holds nobody up only if nothing is held.
                let held = std::mem::replace(tx, store.begin().await?);
                held.commit().await?;
                hold(tx, Hold::Order(batch)).await?;
            }
        }
    }
    Ok(None)
}

/// Waits for nobody.
async fn attempt(tx: &mut Connection, wanted: &Wanted) -> Result<Attempt, Error> {
    let Some(place) = pick(tx, wanted).await? else { return Ok(Attempt::Nothing) };
    let offer = wanted.models.iter().find(|offer| offer.model == place.model);
    let digest = offer.map(|offer| offer.digest.as_str()).unwrap_or_default();
    // Said again: a claim must never rest on what was read before.
    let join = sqlx::query(JOIN_BATCH).bind(key(place.batch)).bind(&place.model);
    let Some(joined) = join.fetch_optional(&mut *tx).await? else { return Ok(Attempt::Met(place.batch)) };
    let cells = Cells::of("batches", &joined);
    let (waits, pinned) = (cells.get("waits")?, cells.get::<Option<String>>("pinned")?);
    if pinned.as_ref().is_some_and(|pinned| pinned != digest) {
        return Ok(Attempt::Met(place.batch));
    }
    // The batch's row is touched by the first lease of a model, and to take back what was said of its
    // waiting; so claims of a running batch do not meet there.
    if waits || pinned.is_none() {
        let own = sqlx::query(OWN_BATCH).bind(key(place.batch));
        if own.fetch_optional(&mut *tx).await?.is_none() || !pin(tx, &place, digest).await? {
            return Ok(Attempt::Met(place.batch));
        }
        run(tx, wanted, place.batch).await?;
    }
    let claim = take(tx, &place, digest).await?;
    lease(tx, wanted, &claim).await?;
    Ok(Attempt::Claimed(claim))
}

async fn pick(tx: &mut Connection, wanted: &Wanted) -> Result<Option<Place>, Error> {
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
) -> Result<Option<Place>, Error> {
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

fn place(row: &Row) -> Result<Place, Error> {
    let cells = Cells::of("chunks", row);
    Ok(Place { batch: cells.id("batch")?, chunk: cells.get("number")?, model: cells.get("model")? })
}

/// The first lease of a model holds the batch to its engine's digest. False if it is held to another.
async fn pin(tx: &mut Connection, place: &Place, digest: &str) -> Result<bool, Error> {
    const PIN: &str = "INSERT INTO pins (batch, model, digest) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    const PINNED: &str = "SELECT digest = $3 FROM pins WHERE batch = $1 AND model = $2";

    let statement = |sql| sqlx::query(sql).bind(key(place.batch)).bind(&place.model).bind(digest);
    statement(PIN).execute(&mut *tx).await?;
    Ok(statement(PINNED).fetch_one(tx).await?.try_get(0)?)
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

async fn take(tx: &mut Connection, place: &Place, digest: &str) -> Result<Claim, Error> {
    const TAKE: &str = "
        UPDATE chunks SET state = 1, epoch = epoch + 1
        WHERE batch = $1 AND number = $2 AND state = 0
        RETURNING plan_group, share, epoch, size, done";

    let row = sqlx::query(TAKE).bind(key(place.batch)).bind(place.chunk).fetch_one(tx).await?;
    let cells = Cells::of("chunks", &row);
    Ok(Claim {
        batch: place.batch,
        chunk: place.chunk,
        group: cells.get("plan_group")?,
        share: cells.get("share")?,
        model: place.model.clone(),
        digest: digest.to_owned(),
        epoch: cells.get("epoch")?,
        size: cells.get("size")?,
        done: cells.get("done")?,
    })
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
