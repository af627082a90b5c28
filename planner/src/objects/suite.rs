//! The laws of objects, the same for a directory and a bucket: `laws!(place)` makes a test of each.

use bytes::Bytes;
use caravan_proto::name::{BatchId, FileId, PlanId, SegmentId};
use futures::TryStreamExt as _;
use object_store::{ObjectStoreExt as _, path::Path as Key};

use super::{Error, Fault, Kind, Objects, PART_BYTES, key};

/// A test of each law, on the objects that `$place` gives and on what it keeps for as long.
macro_rules! laws {
    ($place:path; $($law:ident),+ $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $law() {
            let (objects, _kept) = $place().await;
            $crate::objects::suite::$law(objects).await;
        }
    )+};
    ($place:path) => {
        $crate::objects::suite::laws! { $place;
            what_is_kept_reads_back, a_part_reads_back_in_ranges, what_is_not_there_is_said,
            nothing_is_overwritten, a_large_object_is_written_in_parts, a_writer_that_is_dropped_leaves_nothing,
            everything_is_listed_and_removed, damage_is_never_read, what_was_cut_short_is_damaged,
            an_object_of_another_name_is_damaged, they_are_of_one_database, what_an_earlier_version_wrote_reads_back,
        }
    };
}
pub(super) use laws;

fn bytes(count: usize) -> Bytes {
    (0..count).map(|i| (i % 251) as u8).collect()
}

pub(super) async fn what_is_kept_reads_back(objects: Objects) {
    let (batch, plan, segment) = (BatchId::now(), PlanId::now(), SegmentId::now());
    for (chunk, count) in [(0, 0), (1, 1), (2, 100_000)] {
        objects.put_payload(batch, plan, chunk, bytes(count)).await.unwrap();
        assert_eq!(objects.payload(batch, Some(plan), chunk).await.unwrap(), bytes(count));
    }
    objects.put_segment(batch, segment, bytes(50_000)).await.unwrap();
    for range in [0..50_000, 0..1, 16_383..16_385, 40_000..50_000, 49_999..50_000, 7..7] {
        let read = objects.segment(batch, segment, range.clone()).await.unwrap();
        assert_eq!(read, bytes(50_000).slice(range.start as usize..range.end as usize), "{range:?}");
    }
    assert_eq!(objects.vocabulary("v").await.unwrap(), None);
    for text in ["one", "another"] {
        objects.put_vocabulary("v", Bytes::from(text)).await.unwrap();
        assert_eq!(objects.vocabulary("v").await.unwrap().unwrap(), text);
    }
}

pub(super) async fn a_part_reads_back_in_ranges(objects: Objects) {
    let file = FileId::now();
    let whole = bytes(3_000_000);
    objects.put_part(file, 4, whole.clone()).await.unwrap();
    let named = (4, whole.len() as u64);
    for offset in [0, 5, 1 << 20, 2_999_999] {
        let read: Vec<Bytes> = objects.part(file, named, offset).try_collect().await.unwrap();
        assert!(read.concat() == whole[offset as usize..], "from {offset}");
    }
    // As lines are read: near each other, far from each other, and several times the same.
    let ranges = [0..10, 10..20, 300_000..300_100, 2_999_990..3_000_000, 10..20];
    for (range, read) in ranges.iter().zip(objects.part_ranges(file, named, &ranges).await.unwrap()) {
        assert_eq!(read, whole[range.start as usize..range.end as usize], "{range:?}");
    }
}

pub(super) async fn what_is_not_there_is_said(objects: Objects) {
    let (batch, file) = (BatchId::now(), FileId::now());
    let missing = [
        objects.payload(batch, Some(PlanId::now()), 0).await,
        objects.segment(batch, SegmentId::now(), 0..10).await,
        objects.part(file, (0, 10), 0).try_collect::<Vec<_>>().await.map(|parts| parts.concat().into()),
    ];
    for found in missing {
        assert!(matches!(found, Err(Error(Fault::Missing { .. }))), "{found:?}");
    }
    objects.delete_file(file).await.unwrap();
    objects.delete_batch(batch).await.unwrap();
}

pub(super) async fn nothing_is_overwritten(objects: Objects) {
    let (batch, segment) = (BatchId::now(), SegmentId::now());
    objects.put_segment(batch, segment, bytes(1_000)).await.unwrap();
    // An answer that was lost: the same again.
    objects.put_segment(batch, segment, bytes(1_000)).await.unwrap();
    let other = objects.put_segment(batch, segment, bytes(1_001)).await;
    assert!(matches!(other, Err(Error(Fault::Taken { .. }))), "{other:?}");
    assert_eq!(objects.segment(batch, segment, 0..1_000).await.unwrap(), bytes(1_000));
}

pub(super) async fn a_large_object_is_written_in_parts(objects: Objects) {
    let (batch, one, two) = (BatchId::now(), SegmentId::now(), SegmentId::now());
    let whole = bytes(2 * PART_BYTES + 12_345);
    objects.put_segment(batch, one, whole.clone()).await.unwrap();
    let mut writer = objects.segment_writer(batch, two);
    for piece in whole.chunks(100_000) {
        writer.write(piece).await.unwrap();
    }
    writer.close().await.unwrap();
    let length = whole.len() as u64;
    for segment in [one, two] {
        for range in [0..length, PART_BYTES as u64 - 10..PART_BYTES as u64 + 10, length - 1..length] {
            let read = objects.segment(batch, segment, range.clone()).await.unwrap();
            assert!(read == whole[range.start as usize..range.end as usize], "{range:?}");
        }
    }
}

pub(super) async fn a_writer_that_is_dropped_leaves_nothing(objects: Objects) {
    let (batch, segment) = (BatchId::now(), SegmentId::now());
    let mut writer = objects.segment_writer(batch, segment);
    writer.write(&bytes(2 * PART_BYTES)).await.unwrap();
    drop(writer);
    let found = objects.segment(batch, segment, 0..10).await;
    assert!(matches!(found, Err(Error(Fault::Missing { .. }))), "{found:?}");
    assert_eq!(objects.list().try_collect::<Vec<_>>().await.unwrap(), []);
}

pub(super) async fn everything_is_listed_and_removed(objects: Objects) {
    let (batch, other, plan, file) = (BatchId::now(), BatchId::now(), PlanId::now(), FileId::now());
    let segment = SegmentId::now();
    let before = objects.clock().await.unwrap();
    for number in 0..3 {
        objects.put_payload(batch, plan, number, bytes(10)).await.unwrap();
    }
    objects.put_segment(batch, segment, bytes(10)).await.unwrap();
    objects.put_segment(other, segment, bytes(10)).await.unwrap();
    objects.put_part(file, 0, bytes(10)).await.unwrap();
    objects.put_vocabulary("v", bytes(10)).await.unwrap();
    let listed = async || {
        let mut listed: Vec<_> = objects.list().try_collect().await.unwrap();
        listed.sort_by_key(|object| object.to_string());
        listed
    };
    let found = listed().await;
    let payload = Kind::Payload { batch, plan: Some(plan) };
    let kinds: Vec<_> = found.iter().map(|object| object.kind).collect();
    let part = Kind::Part { file, part: 0, size: 10 };
    let (of_batch, of_other) = (Kind::Segment { batch, segment }, Kind::Segment { batch: other, segment });
    assert_eq!(kinds, [payload, payload, payload, of_batch, of_other, part], "no vocabulary");
    assert!(found.iter().all(|object| object.bytes == 18));
    // The store's clock dates them; some tell whole seconds only.
    assert!(found.iter().all(|object| object.written >= before - 1_000_000), "{before} {found:?}");

    let two = found[..2].to_vec();
    assert_eq!(objects.remove(two.clone()).await.unwrap(), 2);
    assert_eq!(listed().await, found[2..]);
    objects.remove(two).await.unwrap();
    objects.delete_batch(batch).await.unwrap();
    objects.delete_file(file).await.unwrap();
    assert_eq!(listed().await.iter().map(|object| object.kind).collect::<Vec<_>>(), [of_other]);
    assert!(objects.vocabulary("v").await.unwrap().is_some());
}

/// The stored bytes of an object, changed.
async fn tamper(objects: &Objects, key: &Key, change: impl FnOnce(&mut Vec<u8>)) {
    let mut stored = objects.store.get(key).await.unwrap().bytes().await.unwrap().to_vec();
    change(&mut stored);
    objects.store.put(key, stored.into()).await.unwrap();
}

pub(super) async fn damage_is_never_read(objects: Objects) {
    let (batch, segment, plan, file) = (BatchId::now(), SegmentId::now(), PlanId::now(), FileId::now());
    let whole = bytes(100_000);
    objects.put_segment(batch, segment, whole.clone()).await.unwrap();
    objects.put_payload(batch, plan, 0, whole.clone()).await.unwrap();
    objects.put_part(file, 0, whole.clone()).await.unwrap();
    for key in [key::segment(batch, segment), key::payload(batch, Some(plan), 0), key::part(file, 0, 100_000)]
    {
        tamper(&objects, &key, |stored| stored[50_000] ^= 1).await;
    }
    let named = key::segment(batch, segment).to_string();
    let found = objects.segment(batch, segment, 49_000..51_000).await;
    let Err(Error(Fault::Damaged { object, .. })) = &found else { panic!("{found:?}") };
    assert_eq!(*object, named);
    assert_eq!(objects.segment(batch, segment, 0..10).await.unwrap(), whole[..10], "the rest is whole");
    for found in [
        objects.payload(batch, Some(plan), 0).await,
        objects.part(file, (0, 100_000), 0).try_collect::<Vec<_>>().await.map(|parts| parts.concat().into()),
        objects
            .part_ranges(file, (0, 100_000), std::slice::from_ref(&(50_000..50_001)))
            .await
            .map(|ranges| ranges.concat().into()),
    ] {
        assert!(matches!(found, Err(Error(Fault::Damaged { .. }))), "{found:?}");
    }
}

pub(super) async fn what_was_cut_short_is_damaged(objects: Objects) {
    let (batch, plan, segment) = (BatchId::now(), PlanId::now(), SegmentId::now());
    let (payload, of_segment) = (key::payload(batch, Some(plan), 0), key::segment(batch, segment));
    objects.put_payload(batch, plan, 0, bytes(40_000)).await.unwrap();
    objects.put_segment(batch, segment, bytes(40_000)).await.unwrap();
    // In a block, at the end of one, and to nothing.
    for length in [40_000, 2 * (16_384 + 8), 0] {
        tamper(&objects, &payload, |stored| stored.truncate(length)).await;
        tamper(&objects, &of_segment, |stored| stored.truncate(length)).await;
        let found = [
            objects.payload(batch, Some(plan), 0).await,
            objects.segment(batch, segment, 0..40_000).await,
            objects.segment(batch, segment, 39_000..40_000).await,
        ];
        for found in found {
            assert!(matches!(found, Err(Error(Fault::Damaged { .. }))), "cut to {length}: {found:?}");
        }
    }
}

pub(super) async fn an_object_of_another_name_is_damaged(objects: Objects) {
    let (batch, one, two) = (BatchId::now(), SegmentId::now(), SegmentId::now());
    objects.put_segment(batch, one, bytes(100)).await.unwrap();
    objects.store.copy(&key::segment(batch, one), &key::segment(batch, two)).await.unwrap();
    let found = objects.segment(batch, two, 0..100).await;
    assert!(matches!(found, Err(Error(Fault::Damaged { .. }))), "{found:?}");
}

pub(super) async fn what_an_earlier_version_wrote_reads_back(objects: Objects) {
    let (batch, segment, file) = (BatchId::now(), SegmentId::now(), FileId::now());
    for key in [key::segment(batch, segment), key::payload(batch, None, 3), key::part(file, 1, 30_000)] {
        objects.store.put(&key::unsealed(&key), bytes(30_000).into()).await.unwrap();
    }
    assert_eq!(objects.payload(batch, None, 3).await.unwrap(), bytes(30_000));
    assert_eq!(objects.segment(batch, segment, 5..20_000).await.unwrap(), bytes(30_000)[5..20_000]);
    let read: Vec<Bytes> = objects.part(file, (1, 30_000), 100).try_collect().await.unwrap();
    assert_eq!(read.concat(), bytes(30_000)[100..]);
    let short = objects.segment(batch, segment, 20_000..30_001).await;
    assert!(matches!(short, Err(Error(Fault::Damaged { .. }))), "{short:?}");
}

pub(super) async fn they_are_of_one_database(objects: Objects) {
    let (one, two) = (uuid::Uuid::now_v7(), uuid::Uuid::now_v7());
    for _ in 0..2 {
        objects.belong_to(one).await.unwrap();
    }
    let said = objects.belong_to(two).await.unwrap_err().to_string();
    assert!(said.contains(&one.to_string()) && said.contains("`owner`"), "{said}");
    objects.belong_to(one).await.unwrap();
    assert_eq!(objects.list().try_collect::<Vec<_>>().await.unwrap(), [], "it is no garbage");
}
