//! Giving chunks to lanes.

mod join;
mod pick;

use std::collections::{HashMap, HashSet};

use caravan_proto::name::BatchId;
use sqlx::Transaction;

use super::{
    super::{Connection, Database, Db, Hold, Row, chunks, hold, statements::WAITING_PINS},
    cells::{Cells, key},
};
use crate::store::{Claim, Error, Pin, Wanted, Warm};
use join::Joined;
use pick::{Picks, Place, Suit};

/// A claim that meets somebody at its batch begins anew once he is gone. That takes milliseconds and is rare: who
/// has met as many gets nothing this time.
const TRIES: usize = 8;

/// A chunk that is about to be leased to a lane.
pub(in crate::store) struct Take<'w> {
    pub(in crate::store) batch: BatchId,
    pub(in crate::store) chunk: i32,
    pub(in crate::store) wanted: &'w Wanted,
}

/// What a lane is about to be given, and by which digest of its model.
struct Found {
    lane: usize,
    place: Place,
    digest: String,
}

pub(super) async fn claim(store: &Database, wanted: &[Wanted]) -> Result<Vec<Option<Claim>>, Error> {
    let suits: Vec<_> = wanted.iter().map(Suit::of).collect();
    let made = wanted.iter().map(|_| None).collect();
    let (unkept, kept, known) = (Vec::new(), false, Known::default());
    let mut claims = Claims { store, wanted, suits: &suits, made, unkept, kept, known };
    match claims.make().await {
        Err(error) if claims.kept => {
            // These are leased already: they have to be sent.
            tracing::warn!(error = &error as &dyn std::error::Error, "other lanes get nothing this time");
            for lane in claims.unkept {
                claims.made[lane] = None;
            }
        }
        done => done?,
    }
    Ok(claims.made)
}

/// Claims of one call: in one transaction, unless somebody has to be waited for.
struct Claims<'s> {
    store: &'s Database,
    wanted: &'s [Wanted],
    /// What suits each that is wanted.
    suits: &'s [Suit],
    /// One for each that was wanted.
    made: Vec<Option<Claim>>,
    /// Those that the transaction may still lose.
    unkept: Vec<usize>,
    /// Whether some stand, whatever happens to the others.
    kept: bool,
    known: Known,
}

/// What the claims of one transaction need not ask again.
#[derive(Default)]
struct Known {
    joined: Joined,
    picks: Picks,
}

// === impl Claims ===

impl Claims<'_> {
    async fn make(&mut self) -> Result<(), Error> {
        let mut tx = self.store.begin().await?;
        // A lane that comes anew would read a prefix again for a chunk that the lane at its share asks for too.
        self.at_shares(&mut tx).await?;
        let wanted = self.wanted;
        let mut barren = HashSet::new();
        for (lane, wanted) in wanted.iter().enumerate() {
            if self.made[lane].is_some() || barren.contains(&wanted.qualification()) {
                continue;
            }
            let found;
            (tx, found) = self.one(tx, lane).await?;
            if !found {
                barren.insert(wanted.qualification());
            }
        }
        self.keep(tx).await
    }

    /// What comes next in the share that each lane is at, for all lanes with the same models together. A lane at a batch
    /// that somebody else has at the moment gets nothing here.
    async fn at_shares(&mut self, tx: &mut Connection) -> Result<(), Error> {
        let mut alike: HashMap<&Suit, Vec<(usize, Warm)>> = HashMap::new();
        for (lane, (wanted, suit)) in self.wanted.iter().zip(self.suits).enumerate() {
            if let Some(warm) = wanted.warm {
                alike.entry(suit).or_default().push((lane, warm));
            }
        }
        let mut found = Vec::new();
        for (suit, lanes) in alike {
            let mut shares: HashMap<Warm, i64> = HashMap::new();
            for (_, share) in &lanes {
                *shares.entry(*share).or_default() += 1;
            }
            let shares: Vec<_> = shares.into_iter().collect();
            let mut next = self.known.picks.at_shares(tx, suit, &shares).await?;
            for (lane, share) in lanes {
                let Some(place) = next.get_mut(&share).and_then(|next| next.pop_front()) else { continue };
                let digest = self.known.joined.digest(tx, &self.wanted[lane], &place).await?;
                found.extend(digest.map(|digest| Found { lane, place, digest }));
            }
        }
        self.take(tx, found).await
    }

    /// The best of all that suits. False if there is nothing.
    async fn one(
        &mut self,
        mut tx: Transaction<'static, Db>,
        lane: usize,
    ) -> Result<(Transaction<'static, Db>, bool), Error> {
        let (wanted, suit) = (&self.wanted[lane], &self.suits[lane]);
        for _ in 0..TRIES {
            let Some(place) = self.known.picks.best(&mut tx, suit, wanted.warm).await? else {
                return Ok((tx, false));
            };
            let batch = place.batch;
            if let Some(digest) = self.known.joined.digest(&mut tx, wanted, &place).await? {
                self.take(&mut tx, vec![Found { lane, place, digest }]).await?;
                return Ok((tx, true));
            }
            // Waiting holds nobody up only if nothing is held, no connection either.
            self.keep(tx).await?;
            self.known = Known::default();
            tx = self.store.begin().await?;
            hold(&mut tx, Hold::Order(batch)).await?;
        }
        Ok((tx, false))
    }

    async fn take(&mut self, tx: &mut Connection, found: Vec<Found>) -> Result<(), Error> {
        if found.is_empty() {
            return Ok(());
        }
        let take = |Found { lane, place: Place { batch, chunk, .. }, .. }: &Found| Take {
            batch: *batch,
            chunk: *chunk,
            wanted: &self.wanted[*lane],
        };
        let rows = chunks::take(tx, &found.iter().map(take).collect::<Vec<_>>()).await?;
        let mut taken: HashMap<_, _> =
            found.into_iter().map(|found| ((found.place.batch, found.place.chunk), found)).collect();
        for row in &rows {
            let cells = Cells::of("chunks", row);
            if let Some(found) = taken.remove(&(cells.id("batch")?, cells.get("number")?)) {
                self.unkept.push(found.lane);
                self.made[found.lane] = Some(leased(cells, found.place, found.digest)?);
            }
        }
        match taken.is_empty() {
            true => Ok(()),
            // What was picked is held: it cannot be gone.
            false => Err(sqlx::Error::RowNotFound.into()),
        }
    }

    async fn keep(&mut self, tx: Transaction<'static, Db>) -> Result<(), Error> {
        tx.commit().await?;
        self.kept |= !self.unkept.is_empty();
        self.unkept.clear();
        Ok(())
    }
}

fn leased(cells: Cells<'_>, place: Place, digest: String) -> Result<Claim, Error> {
    Ok(Claim {
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
    })
}

pub(super) async fn waiting_pins(store: &Database, id: BatchId) -> Result<Vec<Pin>, Error> {
    let pin = |row: &Row| {
        let cells = Cells::of("pins", row);
        Ok(Pin { model: cells.get("model")?, digest: cells.get("digest")? })
    };
    sqlx::query(WAITING_PINS).bind(key(id)).fetch_all(&store.read).await?.iter().map(pin).collect()
}
