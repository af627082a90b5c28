//! The version of a schema, before it is brought up to date.

use sqlx::migrate::{Migrate, Migrator};

use super::Error;

/// Where applied migrations are written down.
const TABLE: &str = "_sqlx_migrations";

/// What a migration did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// The version that was found; none of an empty database.
    pub from: Option<i64>,
    /// The version now.
    pub to: i64,
}

/// The version of the database; none if it is empty.
///
/// # Errors
/// If it does not answer, or a migration of it was broken off.
pub(super) async fn found<C: Migrate>(connection: &mut C) -> Result<Option<i64>, Error> {
    connection.lock().await?;
    connection.ensure_migrations_table(TABLE).await?;
    let dirty = connection.dirty_version(TABLE).await?;
    let applied = connection.list_applied_migrations(TABLE).await?;
    connection.unlock().await?;
    match dirty {
        Some(version) => Err(Error::Dirty { version }),
        None => Ok(applied.iter().map(|migration| migration.version).max()),
    }
}

/// The version that these migrations lead to.
pub(super) fn known(migrations: &Migrator) -> i64 {
    migrations.iter().map(|migration| migration.version).max().unwrap_or_default()
}
