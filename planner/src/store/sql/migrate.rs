//! Schemas from one version to the next, with planners of two releases side by side.

use sqlx::migrate::Migrator;

use super::super::Connection;
use crate::store::{
    Error, Migrated,
    migration::{found, known},
};

/// Brings the schema up to date. One that is of a later version stays, if it says that this planner can work on it.
///
/// # Errors
/// If it does not, or the database fails.
pub(in crate::store) async fn migrate(
    connection: &mut Connection,
    migrations: &Migrator,
) -> Result<Migrated, Error> {
    let (from, known) = (found(&mut *connection).await?, known(migrations));
    if let Some(found) = from.filter(|found| *found > known) {
        if least_known(connection).await? > known {
            return Err(Error::Newer { found, known });
        }
        tracing::info!(
            schema = found,
            known,
            "the database is of a later version, which this planner can work on"
        );
        return Ok(Migrated { from, to: found });
    }
    migrations.run(connection).await?;
    Ok(Migrated { from, to: known })
}

/// What a planner has to know at least to work on this schema.
async fn least_known(connection: &mut Connection) -> Result<i64, Error> {
    const LEAST: &str = "SELECT least_known FROM compatibility";

    Ok(sqlx::query_scalar(LEAST).fetch_one(connection).await?)
}
