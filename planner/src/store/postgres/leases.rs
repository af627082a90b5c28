//! Signs of life and their absence.

use caravan_proto::name::{ExecutorId, LeaseId};
use uuid::Uuid;

use super::{
    Hold, Postgres, hold,
    sql::{
        cells::{Cells, key},
        leases::held,
    },
};
use crate::store::{Error, Held, Micros};

/// Renews in one statement what is in force; what has expired is revived one by one.
pub(super) async fn heartbeat(
    store: &Postgres,
    executor: ExecutorId,
    leases: &[Held],
    deadline: Micros,
) -> Result<Vec<LeaseId>, Error> {
    // A late heartbeat does not shorten what a later one has given. What is there and was not renewed has
    // expired, or somebody else has it at the moment.
    const RENEW: &str = "
        WITH named AS (
            SELECT l.id, n.started, l.expired
            FROM UNNEST($1::uuid[], $2::bigint[], $3::int[]) AS n (id, epoch, started)
            JOIN leases l ON l.id = n.id AND l.epoch = n.epoch AND l.executor = $4),
        free AS (
            SELECT l.id FROM leases l JOIN named n ON n.id = l.id
            WHERE l.expired = 0 FOR NO KEY UPDATE OF l SKIP LOCKED),
        renewed AS (
            UPDATE leases l SET deadline = GREATEST(l.deadline, $5), started = l.started | n.started
            FROM named n JOIN free f ON f.id = n.id WHERE l.id = n.id)
        SELECT id, expired FROM named";

    let ids: Vec<Uuid> = leases.iter().map(|held| key(held.lease)).collect();
    let epochs: Vec<i64> = leases.iter().map(|held| held.epoch).collect();
    let started: Vec<i32> = leases.iter().map(|held| i32::from(held.started)).collect();
    let renew = sqlx::query(RENEW).bind(ids).bind(epochs).bind(started).bind(key(executor)).bind(deadline);
    let mut expired = std::collections::HashMap::new();
    for row in &renew.fetch_all(&store.write).await? {
        let cells = Cells::of("leases", row);
        expired.insert(cells.id("id")?, cells.flag("expired")?);
    }
    let mut lost = Vec::new();
    for named in leases {
        let is_held = match expired.get(&named.lease) {
            None => false,
            Some(false) => true,
            Some(true) => revive(store, executor, named, deadline).await?,
        };
        if !is_held {
            lost.push(named.lease);
        }
    }
    Ok(lost)
}

/// Puts an expired lease in force again, if nobody has claimed its chunk since: then its row would be gone.
async fn revive(
    store: &Postgres,
    executor: ExecutorId,
    named: &Held,
    deadline: Micros,
) -> Result<bool, Error> {
    // Not `state = 0`, as where it was taken.
    const REVIVE: &str = "
        UPDATE chunks SET state = 1 WHERE batch = $1 AND number = $2 AND epoch = $3 AND state < 1";
    const RENEW: &str = "
        UPDATE leases SET deadline = GREATEST(deadline, $2), started = started | $3, expired = 0 WHERE id = $1";

    let mut tx = store.begin().await?;
    let Some(lease) = held(&mut tx, executor, named.lease, named.epoch).await? else { return Ok(false) };
    hold(&mut tx, Hold::Chunk(lease.batch, lease.chunk)).await?;
    let revive = sqlx::query(REVIVE).bind(key(lease.batch)).bind(lease.chunk).bind(lease.epoch);
    revive.execute(&mut *tx).await?;
    let renew = sqlx::query(RENEW).bind(key(lease.id)).bind(deadline).bind(i32::from(named.started));
    if renew.execute(&mut *tx).await?.rows_affected() == 0 {
        return Ok(false);
    }
    tx.commit().await?;
    Ok(true)
}

pub(super) async fn expire(store: &Postgres, now: Micros) -> Result<u64, Error> {
    const EXPIRE: &str = "
        WITH due AS (
            SELECT l.id, l.batch, l.chunk, l.epoch FROM leases l
            JOIN chunks c ON c.batch = l.batch AND c.number = l.chunk
            WHERE l.expired = 0 AND l.deadline <= $1
            FOR NO KEY UPDATE OF l, c SKIP LOCKED),
        queued AS (
            UPDATE chunks c SET state = 0 FROM due d
            WHERE c.batch = d.batch AND c.number = d.chunk AND c.epoch = d.epoch AND c.state = 1)
        UPDATE leases l SET expired = 1 FROM due d WHERE l.id = d.id";

    Ok(sqlx::query(EXPIRE).bind(now).execute(&store.write).await?.rows_affected())
}
