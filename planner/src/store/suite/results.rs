//! Results become final: once, counted, in order.

use std::{collections::HashMap, sync::Arc};

use tokio::task::JoinSet;

use super::{audit::audit, *};

pub(in crate::store) async fn results_are_counted(db: &impl Backend) {
    let store = db.open().await;
    let id = queued(&store, &[9, 1]).await;
    let (held, _) = claim(&store, ExecutorId::now()).await.unwrap();
    let mut first = segment(&[(0, &[0, 8]), (1, &[0])]);
    first.pieces[0].records[1].succeeded = false;
    let commit = store.commit(id, &first, 60).await.unwrap();
    assert_eq!(commit, Commit { number: Some(0), accepted: 3, chunks_done: vec![1], batch_done: false });
    let running = batch(&store, id).await;
    assert_eq!(running.requests, v1::RequestCounts { total: 10, succeeded: 2, failed: 1 });
    assert_eq!(running.chunks, v1::ChunkCounts { total: 2, done: 1, running: 1 });
    assert_eq!((running.last_commit, running.next_segment, running.state), (Some(60), 1, State::Running));
    let last = segment(&[(0, &[1, 2, 3, 4, 5, 6, 7])]);
    let commit = store.commit(id, &last, 61).await.unwrap();
    assert_eq!(commit, Commit { number: Some(1), accepted: 7, chunks_done: vec![0], batch_done: true });
    assert_eq!(state(&store, id).await, State::Finalizing);
    assert_eq!(store.leases(None).await.unwrap(), [], "the lease {held:?} went with its chunk");
    audit(&store, id, &[(first.id, first), (last.id, last)].into()).await;
}

pub(in crate::store) async fn a_result_is_final_once(db: &impl Backend) {
    let store = db.open().await;
    let id = queued(&store, &[10]).await;
    let first = segment(&[(0, &[3, 4, 3]), (0, &[4])]);
    assert_eq!(store.commit(id, &first, 60).await.unwrap().accepted, 2, "twins in one segment");
    let second = segment(&[(0, &[3, 5]), (0, &[4])]);
    assert_eq!(store.commit(id, &second, 61).await.unwrap().accepted, 1, "twins in two");
    let segments = store.segments(id, 0, 9).await.unwrap();
    assert_eq!(segments[0].pieces.len(), 1, "a piece with nothing final is left out");
    assert_eq!(segments[0].pieces[0].mask, [0b011]);
    assert_eq!(segments[1].pieces[0].mask, [0b10]);
    let outside = segment(&[(0, &[10, 11, -1]), (5, &[0])]);
    assert_eq!(store.commit(id, &outside, 62).await.unwrap(), Commit::default());
    audit(&store, id, &[(first.id, first), (second.id, second)].into()).await;
}

pub(in crate::store) async fn an_old_lease_still_delivers(db: &impl Backend) {
    let store = db.open().await;
    let id = queued(&store, &[2]).await;
    let (late, quick) = (ExecutorId::now(), ExecutorId::now());
    claim(&store, late).await.unwrap();
    store.expire(50 + TTL).await.unwrap();
    let (new, _) = claim(&store, quick).await.unwrap();
    let from_late = segment(&[(0, &[0])]);
    assert_eq!(store.commit(id, &from_late, 60).await.unwrap().accepted, 1, "whichever lease it came under");
    let from_quick = segment(&[(0, &[0, 1])]);
    let commit = store.commit(id, &from_quick, 61).await.unwrap();
    assert_eq!((commit.accepted, commit.batch_done), (1, true));
    assert_eq!(store.heartbeat(quick, &[new], 9_999).await.unwrap(), [new.lease], "nothing is left to hold");
    audit(&store, id, &[(from_late.id, from_late), (from_quick.id, from_quick)].into()).await;
}

pub(in crate::store) async fn results_count_in_the_states_that_take_them(db: &impl Backend) {
    let store = db.open().await;
    let id = planning(&store).await;
    store.add_chunks(id, plan(), &[new_chunk(0, 5)]).await.unwrap();
    let accepted = async |index| store.commit(id, &segment(&[(0, &[index])]), 9).await.unwrap().accepted;
    assert_eq!(accepted(0).await, 0, "planning");
    store.activate(id, &planned(1, 5), 8).await.unwrap();
    assert_eq!(accepted(0).await, 1, "queued");
    claim(&store, ExecutorId::now()).await.unwrap();
    assert_eq!(accepted(1).await, 1, "running");
    store.advance(id, &[State::Running], State::Paused, 9).await.unwrap();
    assert_eq!(accepted(2).await, 1, "paused");
    store.cancel(id, 9).await.unwrap();
    assert_eq!(accepted(3).await, 1, "cancelling");
    store.advance(id, &[State::Cancelling], State::Expired, 9).await.unwrap();
    assert_eq!(accepted(4).await, 0, "ended");
}

pub(in crate::store) async fn an_empty_commit_registers_nothing(db: &impl Backend) {
    let store = db.open().await;
    let id = queued(&store, &[2]).await;
    store.commit(id, &segment(&[(0, &[0])]), 60).await.unwrap();
    let before = batch(&store, id).await;
    for nothing in [segment(&[]), segment(&[(0, &[])]), segment(&[(0, &[0])])] {
        assert_eq!(store.commit(id, &nothing, 61).await.unwrap(), Commit::default());
    }
    assert_eq!(batch(&store, id).await, before);
    assert_eq!(store.segments(id, 0, 9).await.unwrap().len(), 1);
}

pub(in crate::store) async fn cursors_have_no_gaps(db: &impl Backend) {
    const WRITERS: i32 = 6;
    const COMMITS: i32 = 20;
    let store = Arc::new(db.open().await);
    let id = queued(&*store, &vec![COMMITS; usize::try_from(WRITERS).unwrap()]).await;
    let mut writers = JoinSet::new();
    for chunk in 0..WRITERS {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            let mut sent = Vec::new();
            for index in 0..COMMITS {
                let segment = segment(&[(chunk, &[index])]);
                store.commit(id, &segment, 60).await.unwrap();
                sent.push((segment.id, segment));
            }
            sent
        });
    }
    // A reader that follows: what it has seen is never joined by an earlier number.
    let mut seen = 0;
    while seen < i64::from(WRITERS * COMMITS) {
        for segment in store.segments(id, seen, 7).await.unwrap() {
            assert_eq!(segment.number, seen);
            seen += 1;
        }
        tokio::task::yield_now().await;
    }
    let sent: HashMap<_, _> = writers.join_all().await.into_iter().flatten().collect();
    let some = store.segments_at(id, &[9, 2, 500]).await.unwrap();
    assert_eq!(some.iter().map(|segment| segment.number).collect::<Vec<_>>(), [2, 9]);
    assert_eq!(state(&*store, id).await, State::Finalizing);
    audit(&*store, id, &sent).await;
}

/// Commits of 700 pieces each until the batch is done: its first two segments get one row, and so do the last two.
pub(in crate::store) async fn slow_batch(store: &impl Store) -> (BatchId, HashMap<SegmentId, NewSegment>) {
    const CHUNKS: i32 = 700;
    let id = queued(store, &vec![4; usize::try_from(CHUNKS).unwrap()]).await;
    let mut sent = HashMap::new();
    for index in 0..4 {
        let pieces: Vec<_> = (0..CHUNKS).map(|chunk| (chunk, std::slice::from_ref(&index))).collect();
        let segment = segment(&pieces);
        assert_eq!(store.commit(id, &segment, 60).await.unwrap().accepted, i64::from(CHUNKS));
        sent.insert(segment.id, segment);
        audit(store, id, &sent).await;
    }
    (id, sent)
}

pub(in crate::store) async fn segments_read_the_same_from_shared_rows(db: &impl Backend) {
    let store = db.open().await;
    let (id, _) = slow_batch(&store).await;
    let numbers = |segments: Vec<Segment>| segments.iter().map(|s| s.number).collect::<Vec<_>>();
    for from in 0..5 {
        let two = store.segments(id, from, 2).await.unwrap();
        assert_eq!(numbers(two), (from..4).take(2).collect::<Vec<_>>());
    }
    assert_eq!(numbers(store.segments_at(id, &[2, 0, 7]).await.unwrap()), [0, 2]);
    assert_eq!(numbers(store.segments_at(id, &[3, 2]).await.unwrap()), [2, 3]);
}

pub(in crate::store) async fn racing_twins_count_once(db: &impl Backend) {
    let store = Arc::new(db.open().await);
    let id = queued(&*store, &[64]).await;
    let all: Vec<i32> = (0..64).collect();
    let mut tasks = JoinSet::new();
    for shift in 0..6 {
        let (store, mut mine) = (Arc::clone(&store), all.clone());
        mine.rotate_left(shift * 9);
        tasks.spawn(async move {
            let mut sent = Vec::new();
            for some in mine.chunks(8) {
                let segment = segment(&[(0, some)]);
                let accepted = store.commit(id, &segment, 60).await.unwrap().accepted;
                sent.push((accepted, segment));
            }
            sent
        });
    }
    let sent: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(sent.iter().map(|(accepted, _)| accepted).sum::<i64>(), 64);
    assert_eq!(batch(&*store, id).await.requests.succeeded, 64);
    audit(&*store, id, &sent.into_iter().map(|(_, segment)| (segment.id, segment)).collect()).await;
}

pub(in crate::store) async fn usage_is_added_up(db: &impl Backend) {
    let store = db.open().await;
    let id = queued(&store, &[4]).await;
    let usage = |basis: v1::Basis| v1::Usage {
        prompt_tokens: 10,
        prompt_basis: basis.into(),
        evaluated_tokens: 4,
        cached_tokens: 6,
        cache_basis: v1::Basis::Measured.into(),
        completion_tokens: 3,
    };
    let mut first = segment(&[(0, &[0, 0])]);
    first.pieces[0].records[0].usage = usage(v1::Basis::Measured);
    first.pieces[0].records[1].usage = usage(v1::Basis::Estimated);
    store.commit(id, &first, 60).await.unwrap();
    assert_eq!(batch(&store, id).await.usage, usage(v1::Basis::Measured), "only what became final");
    let mut second = segment(&[(0, &[1, 2])]);
    second.pieces[0].records[0].usage = usage(v1::Basis::Estimated);
    store.commit(id, &second, 61).await.unwrap();
    let sum = batch(&store, id).await.usage;
    assert_eq!((sum.prompt_tokens, sum.prompt_basis()), (20, v1::Basis::Mixed));
    assert_eq!((sum.evaluated_tokens, sum.cached_tokens, sum.cache_basis()), (8, 12, v1::Basis::Measured));
    assert_eq!(sum.completion_tokens, 6);
}

pub(in crate::store) async fn chunks_are_compacted_once(db: &impl Backend) {
    let store = db.open().await;
    let ended = queued(&store, &[1]).await;
    store.commit(ended, &segment(&[(0, &[0])]), 60).await.unwrap();
    store.finish(ended, &Outputs::default(), 60).await.unwrap();
    let id = queued(&store, &[1, 2, 1]).await;
    store.commit(id, &segment(&[(0, &[0]), (1, &[0]), (2, &[0])]), 60).await.unwrap();
    let open = async || -> Vec<_> {
        let rows = store.uncompacted(9).await.unwrap();
        rows.into_iter().map(|(batch, chunk)| (batch, chunk.number)).collect()
    };
    assert_eq!(open().await, [(id, 0), (id, 2)], "done, of batches that have not ended");
    assert_eq!(store.uncompacted(1).await.unwrap().len(), 1);
    let object = Compacted { id: SegmentId::now(), bytes: 70, first_line: 12 };
    assert!(!store.set_compacted(id, 1, &object).await.unwrap(), "it is not done");
    assert!(store.set_compacted(id, 2, &object).await.unwrap());
    let slower = Compacted { id: SegmentId::now(), ..object };
    assert!(!store.set_compacted(id, 2, &slower).await.unwrap(), "another was faster");
    assert_eq!(open().await, [(id, 0)]);
    let chunks = store.chunks(id, 1, 9).await.unwrap();
    assert_eq!((chunks[0].compacted, chunks[1].compacted), (None, Some(object)));
    assert_eq!(store.chunks(id, 0, 2).await.unwrap().len(), 2);
    assert_eq!(store.chunk(id, 3).await.unwrap(), None);
}

pub(in crate::store) async fn everything_outlasts_the_process(db: &impl Backend) {
    let store = db.open().await;
    let id = queued(&store, &[3, 1]).await;
    let me = ExecutorId::now();
    let (held, _) = claim(&store, me).await.unwrap();
    let sent = segment(&[(0, &[1]), (1, &[0])]);
    store.commit(id, &sent, 60).await.unwrap();
    let before = (batch(&store, id).await, store.chunks(id, 0, 9).await.unwrap());
    drop(store);

    let store = db.open().await;
    assert_eq!((batch(&store, id).await, store.chunks(id, 0, 9).await.unwrap()), before);
    assert_eq!(store.heartbeat(me, &[held], 9_999).await.unwrap(), [], "an outage repeats nothing");
    let twin = segment(&[(0, &[1, 0, 2])]);
    let commit = store.commit(id, &twin, 61).await.unwrap();
    assert_eq!((commit.number, commit.accepted, commit.batch_done), (Some(1), 2, true));
    audit(&store, id, &[(sent.id, sent), (twin.id, twin)].into()).await;
}
