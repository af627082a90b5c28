//! The store in PostgreSQL: for any number of planners beside each other.
//!
//! Every transaction reads what is committed, so it holds what it reads before it writes. Nobody
//! deadlocks, because of three rules:
//!
//! - Who waits does so in this order: file, batch, chunk, lease.
//! - A batch's row orders all that happens to it. Results hold it against each other and let claims
//!   pass; transitions that take leases away hold it against claims too.
//! - Claims, heartbeats and expiry wait for nobody while they hold anything: what somebody else has at
//!   the moment they leave out. A lease that was left out is renewed by the next heartbeat.
//!
//! Memory: that of its connections, each some 100 KiB here and some 5 MB in the database.

mod leases;
#[expect(clippy::duplicate_mod, reason = "the text that every database reads, compiled for this one")]
#[path = "../sql/mod.rs"]
mod sql;
mod statements;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::{
    PgPool, Transaction,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{Error, Hold};
use sql::cells::key;

static MIGRATIONS: Migrator = sqlx::migrate!("src/store/postgres/migrations");

/// How a planner uses its PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Connections at most. Default 10: a planner's calls are short, and more of them than the database has
    /// cores would only wait for each other. All replicas together must stay below `max_connections`.
    pub connections: u32,
    /// A call waits so long for a free connection, in milliseconds. Default 10 s: a lease's time to live.
    pub acquire_ms: u64,
    /// The database breaks off a statement after this time, in milliseconds. Default 30 s: the slowest, the
    /// deletion of a large batch, takes seconds.
    pub statement_ms: u64,
    /// The planner waits so long for its database when it starts, in milliseconds. Default 60 s: what a
    /// database takes to restart.
    pub start_ms: u64,
}

/// Rows in a PostgreSQL database.
#[derive(Debug, Clone)]
pub struct Postgres {
    write: PgPool,
    read: PgPool,
}

type Database = Postgres;
type Db = sqlx::Postgres;
type Connection = sqlx::PgConnection;
type Row = sqlx::postgres::PgRow;
type Arguments = sqlx::postgres::PgArguments;

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self { connections: 10, acquire_ms: 10_000, statement_ms: 30_000, start_ms: 60_000 }
    }
}

// === impl Postgres ===

impl Postgres {
    /// Connects and brings the schema up to date, under a lock that other planners wait for.
    ///
    /// # Errors
    /// If the URL is none, the database cannot be reached in time or refuses, or is of a later version.
    pub async fn open(url: &str, options: Options) -> Result<Self, Error> {
        let connect: PgConnectOptions = url.parse()?;
        let connect = connect
            .application_name("caravan-planner")
            .options([("statement_timeout", format!("{}ms", options.statement_ms))]);
        let pool = PgPoolOptions::new()
            .max_connections(options.connections)
            .acquire_timeout(Duration::from_millis(options.acquire_ms))
            .connect_lazy_with(connect);
        first(&pool, Duration::from_millis(options.start_ms)).await?;
        MIGRATIONS.run(&pool).await?;
        Ok(Self { write: pool.clone(), read: pool })
    }

    async fn begin(&self) -> Result<Transaction<'static, Db>, sqlx::Error> {
        self.write.begin().await
    }
}

/// Waits until the database answers: it may start at the same time.
async fn first(pool: &PgPool, limit: Duration) -> Result<(), sqlx::Error> {
    use backon::Retryable as _;

    let pauses = backon::ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(2))
        .without_max_times()
        .with_total_delay(Some(limit));
    let answers = || async { sqlx::query("SELECT 1").execute(pool).await.map(drop) };
    answers.retry(pauses).when(is_absent).await
}

/// Whether it may be there in a moment; what it refuses it will refuse again.
fn is_absent(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => true,
        // Starting up, shutting down, too many connections.
        sqlx::Error::Database(error) => {
            error.code().is_some_and(|code| code.starts_with("57P") || code.starts_with("53"))
        }
        _ => false,
    }
}

/// Waits for what the transaction is about to read and write.
async fn hold(tx: &mut Connection, what: Hold) -> Result<(), sqlx::Error> {
    const ORDER: &str = "SELECT 1 FROM batches WHERE id = $1 FOR NO KEY UPDATE";
    const ALONE: &str = "SELECT 1 FROM batches WHERE id = $1 FOR UPDATE";
    const FILE: &str = "SELECT 1 FROM files WHERE id = $1 FOR UPDATE";

    let (statement, id) = match what {
        Hold::Order(batch) => (ORDER, key(batch)),
        Hold::Alone(batch) => (ALONE, key(batch)),
        Hold::File(file) => (FILE, key(file)),
    };
    sqlx::query(statement).bind(id).execute(tx).await?;
    Ok(())
}

/// A list of numbers, as it is bound.
fn numbers(numbers: &[i64]) -> Vec<i64> {
    numbers.to_vec()
}
