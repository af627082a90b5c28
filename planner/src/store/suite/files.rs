//! Files and uploads.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::*;

pub(in crate::store) async fn an_upload_goes_on_where_it_stands(db: &impl Backend) {
    let store = db.open().await;
    let id = FileId::now();
    let opened = store.open_file(&new_file(id, Some("up"))).await.unwrap();
    assert_eq!((opened.id, opened.ready, opened.size), (id, false, 0));
    assert!(!store.append_part(id, 1, 10).await.unwrap(), "no part before it");
    assert!(store.append_part(id, 0, 10).await.unwrap());
    assert!(!store.append_part(id, 0, 10).await.unwrap(), "the part is there");
    assert!(store.append_part(id, 1, 7).await.unwrap());
    let file = store.file_of_upload("up").await.unwrap().unwrap();
    assert_eq!((file.size, &*file.parts), (17, &[10, 7][..]));
    assert!(store.close_file(id, "abc").await.unwrap());
    assert!(!store.close_file(id, "def").await.unwrap(), "ready is for ever");
    assert!(!store.append_part(id, 2, 1).await.unwrap(), "and immutable");
    let file = store.file(id).await.unwrap().unwrap();
    assert_eq!((file.ready, &*file.sha256, file.size), (true, "abc", 17));
    assert_eq!(store.file(FileId::now()).await.unwrap(), None);
    assert_eq!(store.file_of_upload("down").await.unwrap(), None);
}

pub(in crate::store) async fn an_upload_id_opens_one_file(db: &impl Backend) {
    let store = db.open().await;
    let first = store.open_file(&new_file(FileId::now(), Some("up"))).await.unwrap();
    let again = store.open_file(&new_file(FileId::now(), Some("up"))).await.unwrap();
    assert_eq!(first, again);
    let (a, b) = (FileId::now(), FileId::now());
    assert_eq!(store.open_file(&new_file(a, None)).await.unwrap().id, a);
    assert_eq!(store.open_file(&new_file(b, None)).await.unwrap().id, b, "no upload id is no key");
}

pub(in crate::store) async fn parts_race_and_one_wins(db: &impl Backend) {
    let store = Arc::new(db.open().await);
    let id = FileId::now();
    store.open_file(&new_file(id, Some("up"))).await.unwrap();
    let mut tasks = JoinSet::new();
    for bytes in 1..=8 {
        let store = Arc::clone(&store);
        tasks.spawn(async move { store.append_part(id, 0, bytes).await.unwrap().then_some(bytes) });
    }
    let won: Vec<i64> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(won.len(), 1);
    assert_eq!(store.file(id).await.unwrap().unwrap().parts, won);
}

pub(in crate::store) async fn files_are_listed_as_asked_for(db: &impl Backend) {
    let store = db.open().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(input(&store).await);
    }
    let open = store.open_file(&new_file(FileId::now(), None)).await.unwrap().id;
    ids.push(open);
    let list = async |wanted| -> Vec<FileId> {
        store.files(wanted).await.unwrap().into_iter().map(|file| file.id).collect()
    };
    let oldest = |after, limit| FileListing { after, limit, oldest_first: true, ..Default::default() };
    let newest = |after, limit| FileListing { oldest_first: false, ..oldest(after, limit) };
    assert_eq!(list(oldest(None, 4)).await, ids[..4]);
    assert_eq!(list(oldest(Some(ids[3]), 4)).await, ids[4..]);
    ids.reverse();
    assert_eq!(list(newest(None, 3)).await, ids[..3]);
    assert_eq!(list(newest(Some(ids[2]), 3)).await, ids[3..]);
    assert_eq!(list(newest(Some(ids[5]), 3)).await, []);
    assert_eq!(list(FileListing { ready: Some(false), ..newest(None, 9) }).await, [open]);
    assert_eq!(list(FileListing { ready: Some(true), ..newest(None, 9) }).await, ids[1..]);
    let purpose = store.file(open).await.unwrap().unwrap().purpose;
    assert_eq!(list(FileListing { purpose: Some(purpose), ..newest(None, 9) }).await, ids);
    let other = Some(caravan_proto::v1::file::Purpose::BatchOutput);
    assert_eq!(list(FileListing { purpose: other, ..newest(None, 9) }).await, []);
}

pub(in crate::store) async fn a_file_in_use_stays(db: &impl Backend) {
    let store = db.open().await;
    let id = planning(&store).await;
    let file = batch(&store, id).await.input;
    assert_eq!(store.delete_file(file).await.unwrap(), FileDeletion::InUse);
    store.cancel(id, 9).await.unwrap();
    let deleted = store.delete_file(file).await.unwrap();
    assert!(matches!(deleted, FileDeletion::Deleted(gone) if gone.id == file && gone.parts == [10]));
    assert_eq!(store.delete_file(file).await.unwrap(), FileDeletion::NotFound);
    assert_eq!(batch(&store, id).await.input, file, "the batch remembers its name");
}
