//! Giving a chunk to a lane.

use std::collections::HashSet;

use caravan_proto::name::BatchId;
use serde_json::json;
use sqlx::{Row as _, Transaction};

use super::{
    super::{
        Connection, Database, Db, Hold, Row,
        chunks::take,
        hold,
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

/// What the claims of one transaction need not ask again.
#[derive(Default)]
struct Known {
    /// Batches that stay as they are until the transaction ends, with a model of theirs and its digest.
    joined: HashSet<(BatchId, String, String)>,
    /// The highest priority that had anything for these models and this kind, if any had.
    highest: Option<(String, i64, Option<i32>)>,
}

/// How far a claim looks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// What comes next in the share that its lane is at.
    Share,
    /// Everything that suits.
    All,
}

pub(super) async fn claim(store: &Database, wanted: &[Wanted]) -> Result<Vec<Option<Claim>>, Error> {
    let mut claims = Claims { store, made: Vec::new(), kept: 0, known: Known::default() };
    match claims.make(wanted).await {
        Err(error) if claims.kept > 0 => {
            // These are leased already: they have to be sent.
            tracing::warn!(error = &error as &dyn std::error::Error, "other lanes get nothing this time");
            claims.made.truncate(claims.kept);
        }
        done => done?,
    }
    let mut answers: Vec<_> = wanted.iter().map(|_| None).collect();
    for (lane, claim) in claims.made {
        answers[lane] = Some(claim);
    }
    Ok(answers)
}

/// Claims of one call: in one transaction, unless somebody has to be waited for.
struct Claims<'s> {
    store: &'s Database,
    /// With the place of what was wanted.
    made: Vec<(usize, Claim)>,
    /// So many stand, whatever happens to the others.
    kept: usize,
    known: Known,
}

// === impl Claims ===

impl Claims<'_> {
    async fn make(&mut self, wanted: &[Wanted]) -> Result<(), Error> {
        let mut tx = self.store.begin().await?;
        let mut served = HashSet::new();
        // A lane that comes anew would read a prefix again for a chunk that the lane at its share asks for too.
        for (lane, wanted) in wanted.iter().enumerate().filter(|(_, wanted)| wanted.warm.is_some()) {
            let claim;
            (tx, claim) = self.one(tx, wanted, Reach::Share).await?;
            served.extend(claim.is_some().then_some(lane));
            self.made.extend(claim.map(|claim| (lane, claim)));
        }
        let mut barren = HashSet::new();
        for (lane, wanted) in wanted.iter().enumerate() {
            if served.contains(&lane) || barren.contains(&wanted.qualification()) {
                continue;
            }
            let claim;
            (tx, claim) = self.one(tx, wanted, Reach::All).await?;
            if claim.is_none() {
                barren.insert(wanted.qualification());
            }
            self.made.extend(claim.map(|claim| (lane, claim)));
        }
        tx.commit().await?;
        self.kept = self.made.len();
        Ok(())
    }

    async fn one(
        &mut self,
        mut tx: Transaction<'static, Db>,
        wanted: &Wanted,
        reach: Reach,
    ) -> Result<(Transaction<'static, Db>, Option<Claim>), Error> {
        for _ in 0..TRIES {
            match attempt(&mut tx, &mut self.known, wanted, reach).await? {
                Attempt::Claimed(claim) => return Ok((tx, Some(claim))),
                Attempt::Nothing => return Ok((tx, None)),
                Attempt::Met(batch) => {
                    // Waiting holds nobody up only if nothing is held, no connection either.
                    tx.commit().await?;
                    self.kept = self.made.len();
                    self.known = Known::default();
                    tx = self.store.begin().await?;
                    hold(&mut tx, Hold::Order(batch)).await?;
                }
            }
        }
        Ok((tx, None))
    }
}

/// Waits for nobody.
async fn attempt(
    tx: &mut Connection,
    known: &mut Known,
    wanted: &Wanted,
    reach: Reach,
) -> Result<Attempt, Error> {
    let Some(place) = pick(tx, known, wanted, reach).await? else { return Ok(Attempt::Nothing) };
    let offer = wanted.models.iter().find(|offer| offer.model == place.model);
    let digest = offer.map(|offer| offer.digest.clone()).unwrap_or_default();
    let joined = (place.batch, place.model.clone(), digest.clone());
    if !known.joined.contains(&joined) {
        if !join(tx, wanted, &place, &digest).await? {
            return Ok(Attempt::Met(place.batch));
        }
        known.joined.insert(joined);
    }
    let row = take(tx, key(place.batch), place.chunk, wanted).await?;
    let cells = Cells::of("chunks", &row);
    Ok(Attempt::Claimed(Claim {
        batch: place.batch,
        chunk: place.chunk,
        group: cells.get("plan_group")?,
        share: cells.get("share")?,
        model: place.model,
        digest,
        epoch: cells.get("epoch")?,
        size: cells.get("size")?,
        done: cells.get("done")?,
        plan: cells.id_or_none("plan_key")?,
    }))
}

/// Has the batch stay one that is leased from, with its model held to the digest, until the transaction ends.
/// False if somebody else has it, for a moment, or holds it to another digest.
async fn join(tx: &mut Connection, wanted: &Wanted, place: &Place, digest: &str) -> Result<bool, Error> {
    // Said again: a claim must never rest on what was read before.
    let join = sqlx::query(JOIN_BATCH).bind(key(place.batch)).bind(&place.model);
    let Some(joined) = join.fetch_optional(&mut *tx).await? else { return Ok(false) };
    let cells = Cells::of("batches", &joined);
    let (waits, pinned) = (cells.get("waits")?, cells.get::<Option<String>>("pinned")?);
    if pinned.as_ref().is_some_and(|pinned| pinned != digest) {
        return Ok(false);
    }
    // The batch's row is touched by the first lease of a model, and to take back what was said of its
    // waiting; so claims of a running batch do not meet there.
    if waits || pinned.is_none() {
        let own = sqlx::query(OWN_BATCH).bind(key(place.batch));
        if own.fetch_optional(&mut *tx).await?.is_none() || !pin(tx, place, digest).await? {
            return Ok(false);
        }
        run(tx, wanted, place.batch).await?;
    }
    Ok(true)
}

async fn pick(
    tx: &mut Connection,
    known: &mut Known,
    wanted: &Wanted,
    reach: Reach,
) -> Result<Option<Place>, Error> {
    let offer = |offer: &Offer| json!([offer.model, offer.context, offer.digest, offer.pins]);
    let models = serde_json::Value::from_iter(wanted.models.iter().map(offer)).to_string();
    if let Some((_, _, priority)) =
        known.highest.as_ref().filter(|(m, k, _)| (m, k) == (&models, &wanted.kind))
    {
        let found = match priority {
            Some(priority) => best(tx, wanted, &models, *priority, reach).await?,
            None => None,
        };
        if found.is_some() || reach == Reach::Share {
            return Ok(found);
        }
    }
    let highest = sqlx::query(HIGHEST_PRIORITY).bind(&models).bind(wanted.kind);
    let Some(highest) = highest.fetch_optional(&mut *tx).await? else {
        known.highest = Some((models, wanted.kind, None));
        return Ok(None);
    };
    // A warm lane saves a prefix; that is no reason to let a higher priority wait. Where all that is left
    // of it is other lanes' own, a lower one is better than nothing.
    let priority: i32 = Cells::of("batches", &highest).get("priority")?;
    let found = match best(tx, wanted, &models, priority, reach).await? {
        None if reach == Reach::All => best(tx, wanted, &models, i32::MIN, reach).await?,
        found => found,
    };
    known.highest = Some((models, wanted.kind, Some(priority)));
    Ok(found)
}

/// The best chunk of a batch with at least this priority.
async fn best(
    tx: &mut Connection,
    wanted: &Wanted,
    models: &str,
    priority: i32,
    reach: Reach,
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
    if reach == Reach::Share {
        return Ok(None);
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

pub(super) async fn waiting_pins(store: &Database, id: BatchId) -> Result<Vec<Pin>, Error> {
    let pin = |row: &Row| {
        let cells = Cells::of("pins", row);
        Ok(Pin { model: cells.get("model")?, digest: cells.get("digest")? })
    };
    sqlx::query(WAITING_PINS).bind(key(id)).fetch_all(&store.read).await?.iter().map(pin).collect()
}
