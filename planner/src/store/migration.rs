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

/// What `migrator` will do to the database.
///
/// # Errors
/// If the database is of a later version, or a migration of it was broken off.
pub(super) async fn due<C: Migrate>(connection: &mut C, migrator: &Migrator) -> Result<Migrated, Error> {
    connection.lock().await?;
    connection.ensure_migrations_table(TABLE).await?;
    let dirty = connection.dirty_version(TABLE).await?;
    let applied = connection.list_applied_migrations(TABLE).await?;
    connection.unlock().await?;
    let from = applied.iter().map(|migration| migration.version).max();
    let to = migrator.iter().map(|migration| migration.version).max().unwrap_or_default();
    match (dirty, from) {
        (Some(version), _) => Err(Error::Dirty { version }),
        (None, Some(from)) if from > to => Err(Error::Newer { found: from, known: to }),
        (None, from) => Ok(Migrated { from, to }),
    }
}
