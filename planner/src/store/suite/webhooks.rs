//! Ends that are still to be told.

use super::*;

/// One with a webhook, still to be validated.
async fn with_webhook(store: &impl Store) -> BatchId {
    with_webhook_of(store, Tenant::default()).await
}

async fn with_webhook_of(store: &impl Store, tenant: Tenant) -> BatchId {
    let file = NewFile { tenant: tenant.clone(), ..new_file(FileId::now(), None) };
    store.open_file(&file).await.unwrap();
    assert!(store.close_file(file.id, "5ha").await.unwrap());
    let mut new = NewBatch { tenant, ..new_batch(file.id) };
    new.spec.webhook = "https://hooks.example/".into();
    store.create_batch(&new).await.unwrap();
    new.id
}

pub(in crate::store) async fn an_end_is_told_once_it_has_come(db: &impl Backend) {
    let store = db.open().await;
    let id = with_webhook(&store).await;
    let without = new_batch(input(&store).await);
    store.create_batch(&without).await.unwrap();
    assert_eq!(store.untold(i64::MAX, 9).await.unwrap(), [], "nothing has ended");
    store.cancel(without.id, 7).await.unwrap();
    store.cancel(id, 7).await.unwrap();
    // A process that dies now leaves it to the next.
    drop(store);
    let store = db.open().await;
    assert_eq!(store.untold(7, 9).await.unwrap(), [Untold { batch: id, attempts: 0 }]);
    store.told(id).await.unwrap();
    assert_eq!(store.untold(i64::MAX, 9).await.unwrap(), []);
    store.told(id).await.unwrap();
}

pub(in crate::store) async fn an_end_that_was_not_taken_is_told_later(db: &impl Backend) {
    let store = db.open().await;
    let (one, other) = (with_webhook(&store).await, with_webhook(&store).await);
    for id in [one, other] {
        store.cancel(id, 7).await.unwrap();
    }
    store.put_off(one, 100).await.unwrap();
    assert_eq!(store.untold(99, 9).await.unwrap(), [Untold { batch: other, attempts: 0 }]);
    let both = [Untold { batch: other, attempts: 0 }, Untold { batch: one, attempts: 1 }];
    assert_eq!(store.untold(100, 9).await.unwrap(), both, "the longest due first");
    assert_eq!(store.untold(100, 1).await.unwrap(), both[..1]);
    assert!(store.delete_batch(one).await.unwrap());
    assert_eq!(store.untold(100, 9).await.unwrap(), both[..1], "nobody is told of what is gone");
}

pub(in crate::store) async fn the_ends_of_one_tenant_do_not_hold_up_anothers(db: &impl Backend) {
    let store = db.open().await;
    for at in 1..=5 {
        let many = with_webhook_of(&store, "many".parse().unwrap()).await;
        store.cancel(many, at).await.unwrap();
    }
    let one = with_webhook_of(&store, "one".parse().unwrap()).await;
    store.cancel(one, 6).await.unwrap();
    let first = store.untold(10, 2).await.unwrap();
    assert!(first.len() == 2 && first.iter().any(|untold| untold.batch == one), "{first:?}");
}
