use bytes::Bytes;
use caravan_proto::{
    Tenant,
    name::{BatchId, FileId, PlanId, SegmentId},
    v1,
};
use futures::TryStreamExt as _;

use super::*;
use crate::{
    objects::Listed,
    store::{Creation, NewBatch, NewFile, Quota, RejectedSegment, Sqlite, State},
};

/// Later than any object here was written.
const LATER: Micros = Micros::MAX;

struct World {
    _directory: tempfile::TempDir,
    garbage: Garbage,
}

impl World {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Sqlite::open(&directory.path().join("db")).await.unwrap());
        let objects = Objects::local(&directory.path().join("objects")).unwrap();
        let garbage = Garbage::new(Options::default(), store, objects);
        Self { _directory: directory, garbage }
    }

    /// A file with one part, complete or not.
    async fn file(&self, is_complete: bool, created: Micros) -> FileId {
        let Garbage { store, objects, .. } = &self.garbage;
        let (id, purpose) = (FileId::now(), v1::file::Purpose::Batch);
        let file = NewFile {
            id,
            tenant: Tenant::default(),
            upload_id: None,
            filename: "f".into(),
            purpose,
            created,
        };
        store.open_file(&file).await.unwrap();
        objects.put_part(id, 0, some(10)).await.unwrap();
        assert!(store.append_part(id, 0, 10).await.unwrap());
        if is_complete {
            assert!(store.close_file(id, "").await.unwrap());
        }
        id
    }

    /// A batch that is planned anew, with a segment, as the plan and the segment that stand.
    async fn batch(&self, input: FileId, spec: v1::Batch) -> (BatchId, PlanId, SegmentId) {
        let Garbage { store, objects, .. } = &self.garbage;
        let id = BatchId::now();
        let batch = NewBatch {
            id,
            tenant: Tenant::default(),
            request_id: None,
            spec,
            input,
            created: 2,
            deadline: None,
            retry: None,
            quota: Quota::default(),
        };
        assert!(matches!(store.create_batch(&batch).await.unwrap(), Creation::Created(_)));
        assert!(store.advance(id, &[State::Validating], State::Planning, 3).await.unwrap());
        let (plan, segment) = (PlanId::now(), SegmentId::now());
        assert!(store.reset_plan(id, plan).await.unwrap());
        objects.put_payload(id, plan, 0, some(10)).await.unwrap();
        objects.put_segment(id, segment, some(10)).await.unwrap();
        let rejected = RejectedSegment { id: segment, bytes: 10, records: 0 };
        let planned = crate::store::Planned {
            id: plan,
            total: 0,
            chunks: 0,
            plan: v1::Plan::default(),
            provisional: false,
            line_errors: Vec::new(),
            line_error_count: 0,
            rejected: Some(rejected),
        };
        assert!(store.activate(id, &planned, 4).await.unwrap());
        (id, plan, segment)
    }

    async fn listed(&self) -> Vec<String> {
        let listed: Vec<Listed> = self.garbage.objects.list().try_collect().await.unwrap();
        let mut names: Vec<_> = listed.iter().map(ToString::to_string).collect();
        names.sort();
        names
    }

    async fn cancelled(&self, id: BatchId) {
        let store = &self.garbage.store;
        assert!(store.advance(id, &[State::Finalizing], State::Cancelled, 10).await.unwrap());
    }
}

fn some(bytes: usize) -> Bytes {
    vec![7; bytes].into()
}

#[tokio::test]
async fn what_has_no_row_is_removed_and_nothing_else() {
    let world = World::new().await;
    let (open, input) = (world.file(false, 1).await, world.file(true, 1).await);
    let (batch, ..) = world.batch(input, v1::Batch::default()).await;
    let kept = world.listed().await;
    assert_eq!(kept.len(), 4, "{kept:?}");

    let objects = &world.garbage.objects;
    for file in [open, input] {
        // Broken off, or of another size than the one that was registered.
        objects.put_part(file, 0, some(9)).await.unwrap();
        objects.put_part(file, 1, some(9)).await.unwrap();
    }
    objects.put_part(FileId::now(), 0, some(9)).await.unwrap();
    objects.put_payload(batch, PlanId::now(), 0, some(9)).await.unwrap();
    objects.put_segment(batch, SegmentId::now(), some(9)).await.unwrap();
    objects.put_payload(BatchId::now(), PlanId::now(), 0, some(9)).await.unwrap();
    objects.put_segment(BatchId::now(), SegmentId::now(), some(9)).await.unwrap();

    let begun = objects.clock().await.unwrap();
    assert_eq!(world.garbage.remove_orphans(begun - MINUTE).await.unwrap(), 0, "they may get rows yet");
    assert_eq!(world.garbage.remove_orphans(LATER).await.unwrap(), 9);
    assert_eq!(world.listed().await, kept);
}

#[tokio::test]
async fn payloads_go_when_their_batch_has_ended() {
    let world = World::new().await;
    let input = world.file(true, 1).await;
    let (batch, plan, segment) = world.batch(input, v1::Batch::default()).await;
    world.cancelled(batch).await;
    assert_eq!(world.garbage.remove_orphans(LATER).await.unwrap(), 1);
    let objects = &world.garbage.objects;
    assert!(objects.payload(batch, Some(plan), 0).await.is_err());
    assert_eq!(objects.segment(batch, segment, 0..10).await.unwrap(), some(10), "results can still be read");
}

#[tokio::test]
async fn a_batch_goes_with_its_files_when_its_retention_ends() {
    let world = World::new().await;
    let input = world.file(true, 1).await;
    let retention = Some(prost_types::Duration { seconds: 60, nanos: 0 });
    let (batch, ..) = world.batch(input, v1::Batch { retention, ..Default::default() }).await;
    world.cancelled(batch).await;
    world.garbage.remove_retired(9 + MINUTE).await.unwrap();
    assert_eq!(world.listed().await.len(), 3);
    world.garbage.remove_retired(10 + MINUTE).await.unwrap();
    assert_eq!(world.listed().await, [""; 0]);
    let store = &world.garbage.store;
    assert!(store.batch(batch).await.unwrap().is_none() && store.file(input).await.unwrap().is_none());
}

#[tokio::test]
async fn an_upload_that_was_given_up_goes() {
    let world = World::new().await;
    let (old, new, complete) =
        (world.file(false, 1).await, world.file(false, 9).await, world.file(true, 1).await);
    let store = &world.garbage.store;
    world.garbage.remove_files(store.open_files(9, 9).await.unwrap(), "upload").await;
    assert!(store.file(old).await.unwrap().is_none());
    for kept in [new, complete] {
        assert!(store.file(kept).await.unwrap().is_some());
    }
    assert_eq!(world.listed().await.len(), 2);
}
