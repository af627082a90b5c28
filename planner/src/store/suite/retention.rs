//! What need not be kept any longer.

use super::*;

const MINUTE: Micros = 60_000_000;

pub(in crate::store) async fn a_database_has_one_identity(db: &impl Backend) {
    let (one, two) = (uuid::Uuid::now_v7(), uuid::Uuid::now_v7());
    let store = db.open().await;
    assert_eq!(store.identity(one).await.unwrap(), one);
    assert_eq!(store.identity(two).await.unwrap(), one);
    drop(store);
    assert_eq!(db.open().await.identity(two).await.unwrap(), one);
}

async fn kept_for(store: &impl Store, minutes: Option<i64>) -> BatchId {
    let retention = minutes.map(|minutes| prost_types::Duration { seconds: minutes * 60, nanos: 0 });
    planning_with(store, |batch| batch.spec.retention = retention).await
}

pub(in crate::store) async fn a_batch_is_retired_when_it_was_kept_long_enough(db: &impl Backend) {
    let store = db.open().await;
    let (long, short) = (kept_for(&store, Some(2)).await, kept_for(&store, Some(1)).await);
    let (for_ever, open) = (kept_for(&store, None).await, kept_for(&store, Some(1)).await);
    for id in [long, short, for_ever] {
        store.cancel(id, 100).await.unwrap();
    }
    let retired = async |now| store.retired(now, 9).await.unwrap();
    assert_eq!(retired(99 + MINUTE).await, []);
    assert_eq!(retired(100 + MINUTE).await, [short]);
    assert_eq!(retired(100 + 2 * MINUTE).await.len(), 2);
    assert_eq!(store.retired(Micros::MAX, 1).await.unwrap().len(), 1);
    assert!(!retired(Micros::MAX).await.contains(&open));
}

pub(in crate::store) async fn an_input_goes_with_its_last_batch(db: &impl Backend) {
    let store = db.open().await;
    let shared = input(&store).await;
    let mut both = Vec::new();
    for _ in 0..2 {
        let batch = new_batch(shared);
        assert!(matches!(store.create_batch(&batch).await.unwrap(), Creation::Created(_)));
        store.cancel(batch.id, 9).await.unwrap();
        both.push(batch.id);
    }
    assert_eq!(store.delete_input(shared, both[0]).await.unwrap(), FileDeletion::InUse);
    assert!(store.delete_batch(both[0]).await.unwrap());
    assert!(matches!(store.delete_input(shared, both[1]).await.unwrap(), FileDeletion::Deleted(_)));
    assert_eq!(store.delete_input(shared, both[1]).await.unwrap(), FileDeletion::NotFound);
}

pub(in crate::store) async fn open_files_are_found_by_age(db: &impl Backend) {
    let store = db.open().await;
    let ready = input(&store).await;
    let mut open = Vec::new();
    for created in [30, 10, 20] {
        let file = NewFile { created, ..new_file(FileId::now(), None) };
        open.push(store.open_file(&file).await.unwrap().id);
    }
    let found = store.open_files(30, 9).await.unwrap();
    assert_eq!(found, [open[1], open[2]], "oldest first, and not {ready}");
    assert_eq!(store.open_files(99, 1).await.unwrap(), [open[1]]);
}
