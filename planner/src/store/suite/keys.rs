//! API keys from making to revoking.

use caravan_proto::{access::Roles, name::KeyId, v1::Role};

use super::*;

fn new_key(tenant: &Tenant, secret: u8) -> NewKey {
    NewKey {
        id: KeyId::now(),
        prefix: format!("cvn_{secret:08x}"),
        sha256: [secret; 32],
        tenant: tenant.clone(),
        roles: Roles::NONE.and(Role::Submit).and(Role::Read),
        name: "ci".into(),
        created: 5,
        expires: Some(100),
    }
}

pub(in crate::store) async fn a_key_is_found_by_its_hash_alone(db: &impl Backend) {
    let store = db.open().await;
    let new = new_key(&Tenant::default(), 1);
    store.create_key(&new).await.unwrap();
    let key = store.key_of_hash(&[1; 32]).await.unwrap().unwrap();
    assert_eq!((key.id, &key.prefix, key.roles, &key.name), (new.id, &new.prefix, new.roles, &new.name));
    assert_eq!((key.created, key.last_used, key.expires, key.revoked), (5, None, Some(100), None));
    assert_eq!(store.key_of_hash(&[2; 32]).await.unwrap(), None);
    assert!(key.is_good(99) && !key.is_good(100), "good until it expires");
    store.key_used(new.id, 50).await.unwrap();
    assert_eq!(store.key_of_hash(&[1; 32]).await.unwrap().unwrap().last_used, Some(50));
    assert!(store.create_key(&NewKey { id: KeyId::now(), ..new }).await.is_err(), "a secret is of one key");
}

pub(in crate::store) async fn a_key_is_revoked_once_and_for_ever(db: &impl Backend) {
    let store = db.open().await;
    let new = new_key(&Tenant::default(), 1);
    store.create_key(&new).await.unwrap();
    let revoked = store.revoke_key(new.id, 60).await.unwrap().unwrap();
    assert_eq!((revoked.revoked, revoked.is_good(60)), (Some(60), false));
    assert_eq!(store.revoke_key(new.id, 70).await.unwrap(), Some(revoked.clone()));
    assert_eq!(store.key_of_hash(&[1; 32]).await.unwrap(), Some(revoked));
    assert_eq!(store.revoke_key(KeyId::now(), 70).await.unwrap(), None);
}

pub(in crate::store) async fn keys_are_listed_newest_first(db: &impl Backend) {
    let store = db.open().await;
    let (mine, theirs) = (Tenant::default(), "other".parse().unwrap());
    let mut ids = Vec::new();
    for (secret, tenant) in [(1, &mine), (2, &theirs), (3, &mine)] {
        let new = new_key(tenant, secret);
        store.create_key(&new).await.unwrap();
        ids.insert(0, new.id);
    }
    let list = async |of, before, limit| -> Vec<KeyId> {
        store.keys(of, before, limit).await.unwrap().into_iter().map(|key| key.id).collect()
    };
    assert_eq!(list(None, None, 2).await, ids[..2]);
    assert_eq!(list(None, Some(ids[1]), 2).await, ids[2..]);
    assert_eq!(list(Some(&theirs), None, 9).await, [ids[1]]);
    assert_eq!(list(Some(&mine), Some(ids[0]), 9).await, [ids[2]]);
}
