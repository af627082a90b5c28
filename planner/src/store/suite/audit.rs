//! What must hold of a batch at any moment.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use caravan_proto::name::{BatchId, SegmentId};

use super::batch;
use crate::store::{Chunk, NewSegment, Segment, State, Store, bits};

/// Checks a batch against its chunks, segments and leases. `sent` holds what was committed, by segment.
pub(super) async fn audit(store: &impl Store, id: BatchId, sent: &HashMap<SegmentId, NewSegment>) {
    let batch = batch(store, id).await;
    let chunks = store.chunks(id, 0, i64::MAX).await.unwrap();
    let segments = store.segments(id, 0, i64::MAX).await.unwrap();
    let leases = store.leases(Some(id)).await.unwrap();

    let numbers: Vec<i64> = segments.iter().map(|segment| segment.number).collect();
    assert_eq!(numbers, (0..batch.next_segment).collect::<Vec<_>>(), "cursor numbers without gaps");
    for chunk in &chunks {
        assert_eq!(bits::ones(&chunk.done), chunk.done_count.unsigned_abs(), "{chunk:?}");
    }
    let done: Vec<&Chunk> = chunks.iter().filter(|chunk| chunk.done_count == chunk.size).collect();
    assert_eq!(batch.chunks.total, i64::try_from(chunks.len()).unwrap());
    assert_eq!(batch.chunks.done, i64::try_from(done.len()).unwrap());
    assert_eq!(batch.chunks.running, i64::try_from(leases.len()).unwrap());
    let finals: i64 = chunks.iter().map(|chunk| i64::from(chunk.done_count)).sum();
    let rejected: i64 =
        segments.iter().flat_map(|s| &s.pieces).filter(|p| p.chunk.is_none()).map(|p| p.records).sum();
    assert_eq!(batch.requests.succeeded + batch.requests.failed, finals + rejected, "counters are the bits");

    let leased: BTreeSet<i32> = leases.iter().map(|lease| lease.chunk).collect();
    assert_eq!(leased.len(), leases.len(), "one lease in force a chunk");
    assert!(done.iter().all(|chunk| !leased.contains(&chunk.number)), "a finished chunk has no lease");
    if !matches!(batch.state, State::Queued | State::Running | State::Paused) {
        assert!(leases.is_empty(), "{:?} has no lease", batch.state);
    }
    if batch.chunks.total > 0 && done.len() == chunks.len() {
        assert!(!matches!(batch.state, State::Queued | State::Running | State::Paused), "{:?}", batch.state);
    }
    assert_eq!(
        masked(&segments, sent),
        bits_of(&chunks),
        "what the masks say is what the bits say, once each"
    );
    for chunk in &chunks {
        let holds = |segment: &&Segment| segment.pieces.iter().any(|piece| piece.chunk == Some(chunk.number));
        let holders: Vec<i64> = segments.iter().filter(holds).map(|segment| segment.number).collect();
        assert_eq!(chunk.segments, holders, "a chunk names its segments");
    }
}

/// Every request that a mask makes final, by chunk, with how often.
fn masked(segments: &[Segment], sent: &HashMap<SegmentId, NewSegment>) -> BTreeMap<(i32, i32), usize> {
    let mut finals = BTreeMap::new();
    for segment in segments {
        for piece in &segment.pieces {
            let Some(chunk) = piece.chunk else { continue };
            let source =
                sent[&segment.id].pieces.iter().find(|p| p.chunk == chunk && p.offset == piece.offset);
            let records = &source.unwrap().records;
            assert_eq!(i64::try_from(records.len()).unwrap(), piece.records);
            for (position, record) in records.iter().enumerate() {
                if piece.mask.is_empty() || bits::is_set(&piece.mask, position) {
                    *finals.entry((chunk, record.index)).or_insert(0) += 1;
                }
            }
        }
    }
    finals
}

fn bits_of(chunks: &[Chunk]) -> BTreeMap<(i32, i32), usize> {
    let mut finals = BTreeMap::new();
    for chunk in chunks {
        let set = |index: &i32| bits::is_set(&chunk.done, usize::try_from(*index).unwrap());
        finals.extend((0..chunk.size).filter(set).map(|index| ((chunk.number, index), 1)));
    }
    finals
}
