//! A batch that stays one that is leased from, until the transaction ends.

use std::collections::HashSet;

use caravan_proto::name::BatchId;
use sqlx::Row as _;

use super::{
    super::{
        super::{
            Connection,
            statements::{JOIN_BATCH, OWN_BATCH},
        },
        cells::{Cells, key},
    },
    pick::Place,
};
use crate::store::{Error, Micros, Wanted};

/// Batches that stay as they are until the transaction ends, with a model of theirs and its digest.
#[derive(Default)]
pub(super) struct Joined(HashSet<(BatchId, String, String)>);

// === impl Joined ===

impl Joined {
    /// The digest by which the lane may lease from there; none if somebody else has the batch, for a moment, or
    /// holds it to another digest.
    pub(super) async fn digest(
        &mut self,
        tx: &mut Connection,
        wanted: &Wanted,
        place: &Place,
    ) -> Result<Option<String>, Error> {
        let offer = wanted.models.iter().find(|offer| offer.model == place.model);
        let digest = offer.map(|offer| offer.digest.clone()).unwrap_or_default();
        let joined = (place.batch, place.model.clone(), digest.clone());
        if !self.0.contains(&joined) {
            if !join(tx, wanted.now, place, &digest).await? {
                return Ok(None);
            }
            self.0.insert(joined);
        }
        Ok(Some(digest))
    }
}

/// Waits for nobody.
async fn join(tx: &mut Connection, now: Micros, place: &Place, digest: &str) -> Result<bool, Error> {
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
        run(tx, now, place.batch).await?;
    }
    Ok(true)
}

/// The first lease of a model holds the batch to its engine's digest. False if it is held to another.
async fn pin(tx: &mut Connection, place: &Place, digest: &str) -> Result<bool, Error> {
    const PIN: &str = "INSERT INTO pins (batch, model, digest) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    const PINNED: &str = "SELECT digest = $3 FROM pins WHERE batch = $1 AND model = $2";

    let statement = |sql| sqlx::query(sql).bind(key(place.batch)).bind(&place.model).bind(digest);
    statement(PIN).execute(&mut *tx).await?;
    Ok(statement(PINNED).fetch_one(tx).await?.try_get(0)?)
}

async fn run(tx: &mut Connection, now: Micros, batch: BatchId) -> Result<(), Error> {
    const RUN: &str = "
        UPDATE batches SET
            state = 4 /* running */, started = COALESCE(started, $2), provisional = 0, reason = '', message = '',
            revision = revision + 1
        WHERE id = $1";

    sqlx::query(RUN).bind(key(batch)).bind(now).execute(tx).await?;
    Ok(())
}
