//! Ends that are still to be told.

use super::*;

/// One with a webhook, still to be validated.
async fn with_webhook(store: &impl Store) -> BatchId {
    let mut new = new_batch(input(store).await);
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
