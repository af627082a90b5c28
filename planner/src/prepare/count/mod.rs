//! The second reading of an input: tokens are counted, each shared text once, and requests are
//! grouped by the prompts that they share.

mod batch;
mod counter;
mod cut;
mod groups;
mod pool;

use caravan_plan::Head;
use caravan_prefix::MAX_NODES;
use futures::TryStreamExt as _;

pub(super) use counter::Counter;
pub(super) use groups::Group;

use super::Error;
use crate::{
    files::Reader,
    intake::{Lines, Rules, Scanned},
};
use batch::{Batch, Work};
use cut::Batches;
use groups::Grouper;
use pool::Pool;

/// Counts the requests of `scanned`, and groups them; `counters` are by model, `defaults` the bytes of what
/// lines are laid over. Gives the groups, as planning sees them and as payloads need them.
///
/// # Errors
/// If the input cannot be read, or does not read as it did before.
pub(super) async fn count(
    input: Reader,
    rules: Rules,
    scanned: &mut Scanned,
    counters: Vec<Counter>,
    defaults: usize,
) -> Result<(Vec<Head>, Vec<Group>), Error> {
    let mut lines = Lines::new(rules.max_line_bytes);
    let mut batches = Batches::new(defaults);
    let grouper = Grouper::new(rules.sharing, MAX_NODES);
    let pool = Pool::new(Work { rules, classes: scanned.classes.clone(), counters });
    let mut counting = Counting { scanned, pool, grouper };
    let mut full = Vec::new();
    let mut stream = input.stream(0);
    while let Some(block) = stream.try_next().await? {
        lines.feed(&block, |piece| full.extend(batches.line(piece, counting.scanned)));
        for batch in full.drain(..) {
            counting.give(batch).await?;
        }
    }
    lines.finish(|piece| full.extend(batches.line(piece, counting.scanned)));
    full.push(batches.finish());
    for batch in full {
        counting.give(batch).await?;
    }
    counting.finish().await
}

struct Counting<'s> {
    scanned: &'s mut Scanned,
    pool: Pool,
    grouper: Grouper,
}

// === impl Counting ===

impl Counting<'_> {
    async fn give(&mut self, batch: Batch) -> Result<(), Error> {
        match self.pool.give(batch).await? {
            Some(counted) => self.grouper.take(&counted, self.scanned),
            None => Ok(()),
        }
    }

    async fn finish(mut self) -> Result<(Vec<Head>, Vec<Group>), Error> {
        while let Some(counted) = self.pool.next().await? {
            self.grouper.take(&counted, self.scanned)?;
        }
        let (grouper, mut scanned) = (self.grouper, std::mem::take(self.scanned));
        // Seconds of arithmetic where a million requests share little.
        let grouping = tokio::task::spawn_blocking(move || {
            let groups = grouper.finish(&mut scanned);
            (scanned, groups)
        });
        let (scanned, groups) = grouping.await.map_err(|_| Error::Stopped)?;
        *self.scanned = scanned;
        groups
    }
}
