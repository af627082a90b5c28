//! Ends of batches that are still to be told.

use caravan_proto::name::BatchId;

use super::{
    super::{Connection, Database},
    cells::{Cells, key},
};
use crate::store::{Error, Micros, Untold};

/// The end of this batch is to be told.
pub(super) async fn expect(tx: &mut Connection, id: BatchId) -> Result<(), Error> {
    const EXPECT: &str = "INSERT INTO untold (batch) VALUES ($1)";

    sqlx::query(EXPECT).bind(key(id)).execute(tx).await?;
    Ok(())
}

pub(super) async fn untold(store: &Database, now: Micros, limit: i64) -> Result<Vec<Untold>, Error> {
    // Each tenant's first before anybody's second: one whose server hangs holds up no other.
    const UNTOLD: &str = "
        SELECT u.batch, u.attempts FROM untold u JOIN batches b ON b.id = u.batch
        WHERE b.ended IS NOT NULL AND u.due <= $1
        ORDER BY row_number() OVER (PARTITION BY b.tenant ORDER BY u.due, b.ended), u.due, b.ended LIMIT $2";

    let rows = sqlx::query(UNTOLD).bind(now).bind(limit).fetch_all(&store.read).await?;
    let untold = |row| {
        let cells = Cells::of("untold", row);
        Ok(Untold { batch: cells.id("batch")?, attempts: cells.get("attempts")? })
    };
    rows.iter().map(untold).collect()
}

pub(super) async fn told(store: &Database, id: BatchId) -> Result<(), Error> {
    const TOLD: &str = "DELETE FROM untold WHERE batch = $1";

    sqlx::query(TOLD).bind(key(id)).execute(&store.write).await?;
    Ok(())
}

pub(super) async fn put_off(store: &Database, id: BatchId, due: Micros) -> Result<(), Error> {
    const PUT_OFF: &str = "UPDATE untold SET attempts = attempts + 1, due = $2 WHERE batch = $1";

    sqlx::query(PUT_OFF).bind(key(id)).bind(due).execute(&store.write).await?;
    Ok(())
}
