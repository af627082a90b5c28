//! The store in PostgreSQL: for any number of planners beside each other.
//!
//! Every transaction reads what is committed, so it holds what it reads before it writes. Nobody
//! deadlocks, because of three rules:
//!
//! - Who waits does so in this order: file, tenant, batch, chunk, lease, usage (by model).
//! - A batch's row orders all that happens to it. Results hold it against each other and let claims
//!   pass; transitions that take leases away hold it against claims too.
//! - Claims, heartbeats and expiry wait for nobody while they hold anything: what somebody else has at
//!   the moment they leave out. A lease that was left out is renewed by the next heartbeat.
//!
//! Memory: that of its connections, each some 100 KiB here and some 5 MB in the database.

mod chunks;
mod connect;
mod leases;
mod options;
#[expect(clippy::duplicate_mod, reason = "the text that every database reads, compiled for this one")]
#[path = "../sql/mod.rs"]
mod sql;
mod statements;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use caravan_proto::name::BatchId;
pub(super) use connect::is_absent;
pub use options::Options;
use sqlx::{
    Connection as _, PgPool, Transaction,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::{Error, Exclusive, Guard, Hold, Micros, Migrated};
use sql::cells::key;

static MIGRATIONS: Migrator = sqlx::migrate!("src/store/postgres/migrations");

/// Rows in a PostgreSQL database.
#[derive(Debug, Clone)]
pub struct Postgres {
    write: PgPool,
    read: PgPool,
    /// A pool of their own: what is exclusive may take long.
    exclusive: PgPool,
    /// As many as connections in `exclusive`.
    permits: Arc<Semaphore>,
}

type Database = Postgres;
type Db = sqlx::Postgres;
type Connection = sqlx::PgConnection;
type Row = sqlx::postgres::PgRow;
type Arguments = sqlx::postgres::PgArguments;

// === impl Postgres ===

impl Postgres {
    /// Waits for the database and brings its schema up to date.
    ///
    /// # Errors
    /// If it does not answer in time, refuses, or is of a later version.
    pub async fn open(url: &PgConnectOptions, options: Options) -> Result<Self, Error> {
        Self::migrate(url, options).await?;
        let limits = [
            ("statement_timeout", format!("{}ms", options.statement_ms)),
            ("lock_timeout", format!("{}ms", options.lock_ms)),
            // A planner that stands still in the middle of a transaction holds no row for ever.
            ("idle_in_transaction_session_timeout", format!("{}ms", options.lock_ms)),
        ];
        let pool = |connections| {
            PgPoolOptions::new().max_connections(connections).acquire_timeout(options.acquire())
        };
        let calls = pool(options.connections).connect_lazy_with(connect::base(url).options(limits));
        // A server that ends idle transactions must not end these.
        let idle = connect::base(url).options([("idle_in_transaction_session_timeout", "0")]);
        Ok(Self {
            write: calls.clone(),
            read: calls,
            exclusive: pool(options.exclusive_connections).connect_lazy_with(idle),
            permits: Arc::new(Semaphore::new(options.exclusive_connections.try_into().unwrap_or(1))),
        })
    }

    /// Waits for the database and brings its schema up to date, under a lock that other planners wait for.
    ///
    /// # Errors
    /// If it does not answer in time, refuses, or is of a later version.
    pub async fn migrate(url: &PgConnectOptions, options: Options) -> Result<Migrated, Error> {
        let mut connection = connect::first(url, options).await?;
        let migrated = sql::migrate::migrate(&mut connection, &MIGRATIONS).await?;
        connection.close().await?;
        Ok(migrated)
    }

    async fn begin(&self) -> Result<Transaction<'static, Db>, sqlx::Error> {
        self.write.begin().await
    }

    /// The database's clock, for replicas whose own differ.
    async fn now(&self) -> Result<Micros, Error> {
        const NOW: &str = "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint";

        Ok(sqlx::query_scalar(NOW).fetch_one(&self.read).await?)
    }

    /// A lock of a transaction that writes nothing: it ends with its connection, and a pooler passes it on.
    async fn exclusive(&self, what: Exclusive) -> Result<Option<Guard>, Error> {
        const TRY: &str = "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))";

        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else { return Ok(None) };
        let mut held = self.exclusive.begin().await?;
        let free: bool = sqlx::query_scalar(TRY).bind(what.to_string()).fetch_one(&mut *held).await?;
        Ok(free.then(|| Guard::new((held, permit))))
    }
}

/// Waits for what the transaction is about to read and write.
async fn hold(tx: &mut Connection, what: Hold<'_>) -> Result<(), sqlx::Error> {
    const ORDER: &str = "SELECT 1 FROM batches WHERE id = $1 FOR NO KEY UPDATE";
    const ALONE: &str = "SELECT 1 FROM batches WHERE id = $1 FOR UPDATE";
    const CHUNK: &str = "SELECT 1 FROM chunks WHERE batch = $1 AND number = $2 FOR NO KEY UPDATE";
    const FILE: &str = "SELECT 1 FROM files WHERE id = $1 FOR UPDATE";
    const TENANT: &str = "SELECT pg_advisory_xact_lock(hashtextextended('tenant ' || $1, 0))";

    let query = match what {
        Hold::Order(batch) => sqlx::query(ORDER).bind(key(batch)),
        Hold::Alone(batch) => sqlx::query(ALONE).bind(key(batch)),
        Hold::Chunk(batch, number) => sqlx::query(CHUNK).bind(key(batch)).bind(number),
        Hold::File(file) => sqlx::query(FILE).bind(key(file)),
        Hold::Tenant(tenant) => sqlx::query(TENANT).bind(tenant.as_str()),
    };
    query.execute(tx).await?;
    Ok(())
}

/// A list of numbers, as it is bound.
fn numbers(numbers: &[i64]) -> Vec<i64> {
    numbers.to_vec()
}

/// A list of batches, as it is bound.
fn keys(batches: &[BatchId]) -> Vec<Uuid> {
    batches.iter().copied().map(key).collect()
}
