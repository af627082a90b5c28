use std::path::PathBuf;

use anyhow::Context as _;
use sqlx::{Connection as _, PgConnection, SqliteConnection};
use tempfile::TempDir;

/// A database for one run, gone with it.
pub(crate) enum Database {
    Sqlite(TempDir),
    Postgres(caravan_test_postgres::Database),
}

// === impl Database ===

impl Database {
    /// One of each kind. Both wait for the disk at every commit.
    pub(crate) fn of_each_kind() -> anyhow::Result<[Self; 2]> {
        let postgres = caravan_test_postgres::Database::durable()?;
        Ok([Self::Sqlite(tempfile::tempdir()?), Self::Postgres(postgres)])
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "SQLite",
            Self::Postgres(_) => "PostgreSQL",
        }
    }

    /// `store_url` for a planner.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Sqlite(directory) => format!("sqlite:{}", file(directory).display()),
            Self::Postgres(database) => database.url(),
        }
    }

    /// Rows of all tables that grow with a batch.
    pub(crate) async fn rows(&self) -> anyhow::Result<i64> {
        const COUNT: &str = "
            SELECT (SELECT COUNT(*) FROM chunks) + (SELECT COUNT(*) FROM segments)
                 + (SELECT COUNT(*) FROM leases) + (SELECT COUNT(*) FROM batches)";
        self.number(COUNT).await
    }

    /// Bytes on the disk, with indexes, rows that are gone and, of SQLite, the log.
    pub(crate) async fn bytes(&self) -> anyhow::Result<u64> {
        const TABLES: &str = "
            SELECT SUM(pg_total_relation_size(oid))::bigint FROM pg_class
            WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace";
        match self {
            Self::Sqlite(directory) => {
                let log = file(directory).with_extension("db-wal");
                let log = log.metadata().map_or(0, |log| log.len());
                Ok(file(directory).metadata()?.len() + log)
            }
            Self::Postgres(_) => Ok(self.number(TABLES).await?.unsigned_abs()),
        }
    }

    async fn number(&self, query: &'static str) -> anyhow::Result<i64> {
        let number = match self {
            Self::Sqlite(_) => {
                let mut connection = SqliteConnection::connect(&self.url()).await?;
                sqlx::query_scalar(query).fetch_one(&mut connection).await
            }
            Self::Postgres(_) => {
                let mut connection = PgConnection::connect(&self.url()).await?;
                sqlx::query_scalar(query).fetch_one(&mut connection).await
            }
        };
        number.with_context(|| format!("of {}", self.kind()))
    }
}

fn file(directory: &TempDir) -> PathBuf {
    directory.path().join("caravan.db")
}
