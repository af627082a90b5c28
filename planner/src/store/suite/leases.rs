//! Leases from their claim to their end.

use std::collections::HashMap;

use super::{audit::audit, *};

pub(in crate::store) async fn a_heartbeat_renews_what_it_names(db: &impl Backend) {
    let store = db.open().await;
    let id = queued(&store, &[1, 1]).await;
    let me = ExecutorId::now();
    let (one, _) = claim(&store, me).await.unwrap();
    let (two, _) = claim(&store, me).await.unwrap();
    let stranger = Held { lease: LeaseId::now(), epoch: 1, started: false };
    let started = Held { started: true, ..one };
    assert_eq!(store.heartbeat(me, &[started, stranger], 50 + 2 * TTL).await.unwrap(), [stranger.lease]);
    assert_eq!(store.expire(50 + TTL).await.unwrap(), 1, "only what was not named");
    let leases = store.leases(Some(id)).await.unwrap();
    assert_eq!(leases.iter().map(|lease| lease.id).collect::<Vec<_>>(), [one.lease]);
    assert_eq!((leases[0].deadline, leases[0].started), (50 + 2 * TTL, true));
    assert_eq!(store.heartbeat(me, &[one], 60).await.unwrap(), [], "a late one shortens nothing");
    assert_eq!(store.leases(Some(id)).await.unwrap(), leases, "and what was started stays started");
    assert_eq!(store.heartbeat(me, &[], 0).await.unwrap(), []);
    assert_ne!(one.lease, two.lease);
}

pub(in crate::store) async fn an_expired_lease_is_revived(db: &impl Backend) {
    let store = db.open().await;
    let id = queued(&store, &[2]).await;
    let me = ExecutorId::now();
    let (held, _) = claim(&store, me).await.unwrap();
    assert_eq!(store.expire(50 + TTL - 1).await.unwrap(), 0, "it lives until then");
    assert_eq!(store.expire(50 + TTL).await.unwrap(), 1);
    assert_eq!(store.expire(50 + TTL).await.unwrap(), 0, "once");
    assert_eq!(batch(&store, id).await.chunks.running, 0);
    assert_eq!(store.heartbeat(me, &[held], 50 + 3 * TTL).await.unwrap(), []);
    assert_eq!(store.leases(Some(id)).await.unwrap().len(), 1);
    assert!(claim(&store, ExecutorId::now()).await.is_none(), "it is his again");
    assert_eq!(store.expire(50 + 2 * TTL).await.unwrap(), 0);
    audit(&store, id, &HashMap::new()).await;
}

pub(in crate::store) async fn a_claimed_chunk_is_not_revived(db: &impl Backend) {
    let store = db.open().await;
    let id = queued(&store, &[2]).await;
    let (late, quick) = (ExecutorId::now(), ExecutorId::now());
    let (old, _) = claim(&store, late).await.unwrap();
    store.expire(50 + TTL).await.unwrap();
    let (new, claim) = claim(&store, quick).await.unwrap();
    assert_eq!((claim.chunk, claim.epoch), (0, old.epoch + 1));
    assert_eq!(store.heartbeat(late, &[old], 9_999).await.unwrap(), [old.lease]);
    assert!(!store.hand_back(late, old.lease, old.epoch).await.unwrap());
    assert_eq!(store.heartbeat(quick, &[new], 9_999).await.unwrap(), []);
    assert_eq!(store.leases(Some(id)).await.unwrap()[0].executor, quick);
}

pub(in crate::store) async fn a_lease_is_fenced(db: &impl Backend) {
    let store = db.open().await;
    let id = queued(&store, &[2]).await;
    let (me, other) = (ExecutorId::now(), ExecutorId::now());
    let (held, _) = claim(&store, me).await.unwrap();
    let wrong = Held { epoch: held.epoch + 1, ..held };
    assert_eq!(store.heartbeat(me, &[wrong], 9_999).await.unwrap(), [held.lease], "the epoch fences");
    assert_eq!(store.heartbeat(other, &[held], 9_999).await.unwrap(), [held.lease], "and the holder");
    assert!(!store.hand_back(me, held.lease, held.epoch - 1).await.unwrap());
    assert!(!store.hand_back(other, held.lease, held.epoch).await.unwrap());
    assert_eq!(store.leases(Some(id)).await.unwrap()[0].deadline, 50 + TTL, "nothing was renewed");
}

pub(in crate::store) async fn a_chunk_handed_back_is_queued(db: &impl Backend) {
    let store = db.open().await;
    let id = queued(&store, &[2]).await;
    let me = ExecutorId::now();
    let (held, _) = claim(&store, me).await.unwrap();
    store.commit(id, &segment(&[(0, &[1])]), 60).await.unwrap();
    assert!(store.hand_back(me, held.lease, held.epoch).await.unwrap());
    assert!(!store.hand_back(me, held.lease, held.epoch).await.unwrap(), "once");
    let (again, claim) = claim(&store, me).await.unwrap();
    assert_eq!((claim.epoch, &*claim.done), (held.epoch + 1, &[0b10][..]), "what is done is done");
    store.expire(50 + TTL).await.unwrap();
    assert!(store.hand_back(me, again.lease, again.epoch).await.unwrap(), "expired, but not claimed since");
    assert!(super::claim(&store, me).await.is_some());
    assert!(super::claim(&store, me).await.is_none());
}

pub(in crate::store) async fn leases_are_listed(db: &impl Backend) {
    let store = db.open().await;
    let (one, two) = (queued(&store, &[1]).await, queued(&store, &[1]).await);
    let me = ExecutorId::now();
    let (first, _) = claim(&store, me).await.unwrap();
    let (second, _) = claim(&store, me).await.unwrap();
    let expected = |id, batch, epoch| Lease {
        id,
        batch,
        chunk: 0,
        epoch,
        executor: me,
        engine: "gpu0".into(),
        lane: 3,
        deadline: 50 + TTL,
        started: false,
        expired: false,
    };
    let (first, second) = (expected(first.lease, one, 1), expected(second.lease, two, 1));
    assert_eq!(store.leases(Some(two)).await.unwrap(), std::slice::from_ref(&second));
    assert_eq!(store.leases(None).await.unwrap(), [first, second]);
}
