//! API keys: made, and known again.

use std::sync::Arc;

use caravan_proto::{Tenant, access::Roles, name::KeyId, v1};
use caravan_service::identity::{self, FreshKey, KeyHash, Keys, NoRandomness, Principal};
use tonic::Status;

use crate::{
    api, clock,
    store::{self, Key, Micros, NewKey, Store},
};

/// Uses of a key within this time of each other leave one mark: else each call would write a row.
const USED: Micros = 3_600 * 1_000_000;
/// Bytes of a key's name.
const LONGEST_NAME: usize = 128;

/// Why a key was not made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was asked for is no key.
    #[error("{message}")]
    Wrong {
        /// The field.
        field: &'static str,
        /// What is wrong with it, and the way out.
        message: String,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The system.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

/// Whom keys stand for, for those who call this planner.
pub struct KeyHolders {
    store: Arc<dyn Store>,
}

// === impl KeyHolders ===

impl KeyHolders {
    /// Keys in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }
}

#[tonic::async_trait]
impl Keys for KeyHolders {
    async fn holder(&self, sha256: &KeyHash) -> Result<Option<Principal>, Status> {
        let key = verify(&*self.store, sha256).await.map_err(api::status)?;
        Ok(key.map(|key| Principal::new(key.tenant, &key.prefix, key.roles)))
    }
}

/// Makes a key of what the client sets of `wanted`. Gives it with its text, which is kept nowhere.
///
/// # Errors
/// If a field is wrong, or the database or the system fails.
pub async fn create(store: &dyn Store, wanted: v1::Key) -> Result<(Key, String), Error> {
    let created = store.now().await?;
    let fresh = FreshKey::random()?;
    let (tenant, roles, expires) = (tenant(&wanted.tenant)?, roles(&wanted)?, expiry(&wanted, created)?);
    let key = NewKey {
        id: KeyId::now(),
        prefix: fresh.prefix,
        sha256: identity::hash(&fresh.text),
        tenant,
        roles,
        name: name(wanted.display_name)?,
        created,
        expires,
    };
    store.create_key(&key).await?;
    tracing::info!(key = %key.id, prefix = key.prefix, tenant = %key.tenant, roles = %key.roles, "key made");
    let NewKey { id, prefix, tenant, roles, name, .. } = key;
    let key = Key { id, prefix, tenant, roles, name, created, last_used: None, expires, revoked: None };
    Ok((key, fresh.text))
}

/// The key with this hash, if it is good; remembers that it was used.
///
/// # Errors
/// If the database fails.
pub async fn verify(store: &dyn Store, sha256: &KeyHash) -> Result<Option<Key>, store::Error> {
    let Some(key) = store.key_of_hash(sha256).await? else { return Ok(None) };
    let now = store.now().await?;
    if !key.is_good(now) {
        return Ok(None);
    }
    if key.last_used.is_none_or(|last| now.saturating_sub(last) >= USED) {
        store.key_used(key.id, now).await?;
    }
    Ok(Some(key))
}

/// A key as the contract has it.
#[must_use]
pub fn message(key: Key) -> v1::Key {
    v1::Key {
        name: key.id.name(),
        prefix: key.prefix,
        tenant: key.tenant.into(),
        roles: key.roles.iter().map(Into::into).collect(),
        display_name: key.name,
        create_time: Some(clock::timestamp(key.created)),
        last_use_time: key.last_used.map(clock::timestamp),
        expire_time: key.expires.map(clock::timestamp),
        revoke_time: key.revoked.map(clock::timestamp),
    }
}

fn wrong(field: &'static str, message: impl Into<String>) -> Error {
    Error::Wrong { field, message: message.into() }
}

fn tenant(name: &str) -> Result<Tenant, Error> {
    if name.is_empty() {
        return Ok(Tenant::default());
    }
    name.parse().map_err(|error| wrong("key.tenant", format!("tenant must be a tenant's name: {error}")))
}

fn roles(wanted: &v1::Key) -> Result<Roles, Error> {
    let known: Vec<v1::Role> = wanted.roles().filter(|role| *role != v1::Role::Unspecified).collect();
    if known.is_empty() || known.len() != wanted.roles.len() {
        return Err(wrong("key.roles", "roles must hold at least one role, and nothing that is none"));
    }
    Ok(known.into_iter().collect())
}

fn name(given: String) -> Result<String, Error> {
    if (1..=LONGEST_NAME).contains(&given.len()) && !given.contains(char::is_control) {
        return Ok(given);
    }
    let message = format!("display_name must have 1 to {LONGEST_NAME} bytes, none a control character");
    Err(wrong("key.display_name", message))
}

fn expiry(wanted: &v1::Key, now: Micros) -> Result<Option<Micros>, Error> {
    match wanted.expire_time.map(clock::micros) {
        Some(expires) if expires <= now => Err(wrong("key.expire_time", "expire_time must be to come")),
        expires => Ok(expires),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::store::Sqlite;

    fn wanted() -> v1::Key {
        let roles = vec![v1::Role::Submit.into()];
        v1::Key { tenant: "acme".into(), roles, display_name: "ci".into(), ..v1::Key::default() }
    }

    #[tokio::test]
    async fn a_key_is_known_again_until_it_is_revoked() {
        let directory = TempDir::new().unwrap();
        let store = Sqlite::open(&directory.path().join("rows.db")).await.unwrap();
        let (key, text) = create(&store, wanted()).await.unwrap();
        assert!(text.starts_with(&key.prefix));
        let hash = identity::hash(&text);
        let known = verify(&store, &hash).await.unwrap().unwrap();
        assert_eq!((known.id, known.tenant.as_str()), (key.id, "acme"));
        let first = store.key_of_hash(&hash).await.unwrap().unwrap().last_used;
        verify(&store, &hash).await.unwrap().unwrap();
        let second = store.key_of_hash(&hash).await.unwrap().unwrap().last_used;
        assert!(first.is_some() && first == second, "marked once an hour");
        assert_eq!(verify(&store, &identity::hash(&text[1..])).await.unwrap(), None);
        store.revoke_key(key.id, 1).await.unwrap();
        assert_eq!(verify(&store, &hash).await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_is_wrong_is_named() {
        let directory = TempDir::new().unwrap();
        let store = Sqlite::open(&directory.path().join("rows.db")).await.unwrap();
        let past = prost_types::Timestamp { seconds: 1, nanos: 0 };
        for (bad, expected) in [
            (v1::Key { tenant: "A B".into(), ..wanted() }, "key.tenant"),
            (v1::Key { roles: Vec::new(), ..wanted() }, "key.roles"),
            (v1::Key { roles: vec![1, 99], ..wanted() }, "key.roles"),
            (v1::Key { display_name: String::new(), ..wanted() }, "key.display_name"),
            (v1::Key { display_name: "a\nb".into(), ..wanted() }, "key.display_name"),
            (v1::Key { expire_time: Some(past), ..wanted() }, "key.expire_time"),
        ] {
            match create(&store, bad).await {
                Err(Error::Wrong { field, .. }) => assert_eq!(field, expected),
                other => panic!("{expected}: {other:?}"),
            }
        }
        assert_eq!(store.keys(None, None, 9).await.unwrap(), []);
    }
}
