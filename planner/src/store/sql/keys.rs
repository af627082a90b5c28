//! API keys.

use caravan_proto::{Tenant, access::Roles, name::KeyId};

use super::{
    super::{Database, Row},
    cells::{Cells, key as cell},
};
use crate::store::{Error, Key, KeyHash, Micros, NewKey};

/// Keys with what is read of them.
macro_rules! keys {
    ($which:literal) => {
        concat!(
            "SELECT id, prefix, tenant, roles, name, created, last_used, expires, revoked FROM keys ",
            $which
        )
    };
}

pub(super) async fn create(store: &Database, key: &NewKey) -> Result<(), Error> {
    const INSERT: &str = "
        INSERT INTO keys (id, prefix, sha256, tenant, roles, name, created, expires)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

    sqlx::query(INSERT)
        .bind(cell(key.id))
        .bind(&key.prefix)
        .bind(key.sha256.as_slice())
        .bind(key.tenant.as_str())
        .bind(key.roles.bits())
        .bind(&key.name)
        .bind(key.created)
        .bind(key.expires)
        .execute(&store.write)
        .await?;
    Ok(())
}

pub(super) async fn list(
    store: &Database,
    of: Option<&Tenant>,
    before: Option<KeyId>,
    limit: i64,
) -> Result<Vec<Key>, Error> {
    const NEWEST: &str =
        keys!("WHERE ($1 IS NULL OR tenant = $1) AND ($2 IS NULL OR id < $2) ORDER BY id DESC LIMIT $3");

    let query = sqlx::query(NEWEST).bind(of.map(Tenant::as_str)).bind(before.map(cell)).bind(limit);
    query.fetch_all(&store.read).await?.iter().map(key).collect()
}

pub(super) async fn revoke(store: &Database, id: KeyId, now: Micros) -> Result<Option<Key>, Error> {
    const REVOKE: &str = "UPDATE keys SET revoked = $2 WHERE id = $1 AND revoked IS NULL";
    const BY_ID: &str = keys!("WHERE id = $1");

    sqlx::query(REVOKE).bind(cell(id)).bind(now).execute(&store.write).await?;
    let found = sqlx::query(BY_ID).bind(cell(id)).fetch_optional(&store.write).await?;
    found.as_ref().map(key).transpose()
}

pub(super) async fn find(store: &Database, sha256: &KeyHash) -> Result<Option<Key>, Error> {
    const BY_HASH: &str = keys!("WHERE sha256 = $1");

    let found = sqlx::query(BY_HASH).bind(sha256.as_slice()).fetch_optional(&store.read).await?;
    found.as_ref().map(key).transpose()
}

pub(super) async fn used(store: &Database, id: KeyId, now: Micros) -> Result<(), Error> {
    const USED: &str = "UPDATE keys SET last_used = $2 WHERE id = $1";

    sqlx::query(USED).bind(cell(id)).bind(now).execute(&store.write).await?;
    Ok(())
}

fn key(row: &Row) -> Result<Key, Error> {
    let cells = Cells::of("keys", row);
    Ok(Key {
        id: cells.id("id")?,
        prefix: cells.get("prefix")?,
        tenant: cells.tenant("tenant")?,
        roles: Roles::from_bits(cells.get("roles")?),
        name: cells.get("name")?,
        created: cells.get("created")?,
        last_used: cells.get("last_used")?,
        expires: cells.get("expires")?,
        revoked: cells.get("revoked")?,
    })
}
