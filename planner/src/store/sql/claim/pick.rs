//! Which chunk suits a lane best.

use std::collections::{HashMap, VecDeque};

use caravan_proto::name::BatchId;
use serde_json::json;

use super::super::{
    super::{
        Connection, Row, chunks,
        statements::{HEAD_OF_SHARE, HIGHEST_PRIORITY, LAST_OF_ANY},
    },
    cells::Cells,
};
use crate::store::{Error, Offer, Wanted, Warm};

/// A chunk that nobody else can take until the transaction ends.
pub(super) struct Place {
    pub(super) batch: BatchId,
    pub(super) chunk: i32,
    pub(super) model: String,
}

/// What is looked for: models that an engine offers, and its kind.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Suit {
    models: String,
    kind: i64,
}

/// Finds chunks within one transaction.
#[derive(Default)]
pub(super) struct Picks {
    /// The highest priority that had anything for these, if any had.
    highest: Option<(Suit, Option<i32>)>,
}

// === impl Suit ===

impl Suit {
    pub(super) fn of(wanted: &Wanted) -> Self {
        let offer = |offer: &Offer| json!([offer.model, offer.context, offer.digest, offer.pins]);
        let models = serde_json::Value::from_iter(wanted.models.iter().map(offer)).to_string();
        Self { models, kind: wanted.kind }
    }
}

// === impl Picks ===

impl Picks {
    /// What comes next in the shares that lanes are at, in the order in which they are handed out.
    pub(super) async fn at_shares(
        &mut self,
        tx: &mut Connection,
        suit: &Suit,
        shares: &[(Warm, i64)],
    ) -> Result<HashMap<Warm, VecDeque<Place>>, Error> {
        // A warm lane saves a prefix; that is no reason to let a higher priority wait.
        let highest = match self.known(suit) {
            Some(highest) => highest,
            None => self.highest(tx, suit).await?,
        };
        let Some(highest) = highest else { return Ok(HashMap::new()) };
        next_of_shares(tx, suit, highest, shares).await
    }

    pub(super) async fn best(
        &mut self,
        tx: &mut Connection,
        suit: &Suit,
        warm: Option<Warm>,
    ) -> Result<Option<Place>, Error> {
        if let Some(known) = self.known(suit) {
            let Some(priority) = known else { return Ok(None) };
            let found = best(tx, suit, warm, priority).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        let Some(priority) = self.highest(tx, suit).await? else { return Ok(None) };
        // Where all that is left of the highest is other lanes' own, a lower one is better than nothing.
        match best(tx, suit, warm, priority).await? {
            None => best(tx, suit, warm, i32::MIN).await,
            found => Ok(found),
        }
    }

    /// What was asked last, if it was of these.
    fn known(&self, suit: &Suit) -> Option<Option<i32>> {
        self.highest.as_ref().filter(|(known, _)| known == suit).map(|(_, highest)| *highest)
    }

    async fn highest(&mut self, tx: &mut Connection, suit: &Suit) -> Result<Option<i32>, Error> {
        let highest = sqlx::query(HIGHEST_PRIORITY).bind(&suit.models).bind(suit.kind);
        let highest = highest.fetch_optional(tx).await?;
        let highest = highest.map(|row| Cells::of("batches", &row).get("priority")).transpose()?;
        self.highest = Some((suit.clone(), highest));
        Ok(highest)
    }
}

/// The best chunk of a batch with at least this priority.
async fn best(
    tx: &mut Connection,
    suit: &Suit,
    warm: Option<Warm>,
    priority: i32,
) -> Result<Option<Place>, Error> {
    if let Some(warm) = warm {
        let mut next = next_of_shares(tx, suit, priority, &[(warm, 1)]).await?;
        if let Some(place) = next.get_mut(&warm).and_then(VecDeque::pop_front) {
            return Ok(Some(place));
        }
    }
    for query in [HEAD_OF_SHARE, LAST_OF_ANY] {
        let found = sqlx::query(query).bind(&suit.models).bind(suit.kind).bind(priority);
        if let Some(row) = found.fetch_optional(&mut *tx).await? {
            return place(&row).map(Some);
        }
    }
    Ok(None)
}

async fn next_of_shares(
    tx: &mut Connection,
    suit: &Suit,
    priority: i32,
    shares: &[(Warm, i64)],
) -> Result<HashMap<Warm, VecDeque<Place>>, Error> {
    let mut next: HashMap<Warm, VecDeque<Place>> = HashMap::new();
    for row in chunks::next_of_shares(tx, &suit.models, suit.kind, priority, shares).await? {
        let (cells, place) = (Cells::of("chunks", &row), place(&row)?);
        let share = Warm { batch: place.batch, group: cells.get("plan_group")?, share: cells.get("share")? };
        next.entry(share).or_default().push_back(place);
    }
    Ok(next)
}

fn place(row: &Row) -> Result<Place, Error> {
    let cells = Cells::of("chunks", row);
    Ok(Place { batch: cells.id("batch")?, chunk: cells.get("number")?, model: cells.get("model")? })
}
