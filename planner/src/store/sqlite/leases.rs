//! Signs of life and their absence.

use caravan_proto::name::{ExecutorId, LeaseId};

use super::{
    Sqlite,
    sql::{cells::key, leases::held},
};
use crate::store::{Error, Held, Micros};

pub(super) async fn heartbeat(
    store: &Sqlite,
    executor: ExecutorId,
    leases: &[Held],
    deadline: Micros,
) -> Result<Vec<LeaseId>, Error> {
    // A late heartbeat does not shorten what a later one has given.
    const RENEW: &str = "
        UPDATE leases SET
            deadline = CASE WHEN deadline < $2 THEN $2 ELSE deadline END, started = started | $3, expired = 0
        WHERE id = $1";
    // Nobody has claimed it since, or the expired row would be gone.
    const REVIVE: &str = "
        UPDATE chunks SET state = 1 WHERE batch = $1 AND number = $2 AND epoch = $3 AND state = 0";

    let mut tx = store.begin().await?;
    let mut lost = Vec::new();
    for named in leases {
        let Some(lease) = held(&mut tx, executor, named.lease, named.epoch).await? else {
            lost.push(named.lease);
            continue;
        };
        sqlx::query(RENEW)
            .bind(key(lease.id))
            .bind(deadline)
            .bind(i32::from(named.started))
            .execute(&mut *tx)
            .await?;
        if lease.expired {
            let revive = sqlx::query(REVIVE).bind(key(lease.batch)).bind(lease.chunk).bind(lease.epoch);
            revive.execute(&mut *tx).await?;
        }
    }
    tx.commit().await?;
    Ok(lost)
}

pub(super) async fn expire(store: &Sqlite, now: Micros) -> Result<u64, Error> {
    const QUEUE: &str = "
        UPDATE chunks SET state = 0
        WHERE state = 1 AND rowid IN (
            SELECT c.rowid FROM leases l
            CROSS JOIN chunks c ON c.batch = l.batch AND c.number = l.chunk AND c.epoch = l.epoch
            WHERE l.expired = 0 AND l.deadline <= $1)";
    const MARK: &str = "UPDATE leases SET expired = 1 WHERE expired = 0 AND deadline <= $1";

    let mut tx = store.begin().await?;
    sqlx::query(QUEUE).bind(now).execute(&mut *tx).await?;
    let marked = sqlx::query(MARK).bind(now).execute(&mut *tx).await?.rows_affected();
    tx.commit().await?;
    Ok(marked)
}
