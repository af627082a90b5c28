//! Which chunk a lane gets.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::task::JoinSet;

use super::*;

/// Chunks of two shares of four, in one group.
fn two_shares() -> Vec<NewChunk> {
    (0..8)
        .map(|number| NewChunk { share: number / 4, share_head: number % 4 == 0, ..new_chunk(number, 1) })
        .collect()
}

fn warm(batch: BatchId, share: i32) -> Wanted {
    Wanted { warm: Some(Warm { batch, group: 0, share }), ..wanted(ExecutorId::now()) }
}

async fn claimed(store: &impl Store, wanted: Wanted) -> Option<i32> {
    claim_with(store, wanted).await.map(|(_, claim)| claim.chunk)
}

pub(in crate::store) async fn a_warm_lane_goes_on_with_its_share(db: &impl Backend) {
    let store = db.open().await;
    let id = queued_with(&store, &two_shares()).await;
    for expected in [4, 5, 6, 7] {
        assert_eq!(claimed(&store, warm(id, 1)).await, Some(expected));
    }
    assert_eq!(claimed(&store, warm(id, 1)).await, Some(0), "its share is taken: a fresh one");
    assert_eq!(claimed(&store, warm(id, 1)).await, Some(3), "no fresh one: from the tail");
    let other = Wanted { warm: Some(Warm { batch: id, group: 1, share: 0 }), ..wanted(ExecutorId::now()) };
    assert_eq!(claimed(&store, other).await, Some(2), "the share of another group is another");
}

pub(in crate::store) async fn a_cold_lane_begins_a_share(db: &impl Backend) {
    let store = db.open().await;
    let id = queued_with(&store, &two_shares()).await;
    let (_, claim) = claim(&store, ExecutorId::now()).await.unwrap();
    assert_eq!((claim.batch, claim.chunk, claim.group, claim.share), (id, 0, 0, 0));
    assert_eq!((claim.epoch, claim.size, &*claim.done), (1, 1, &[0][..]));
    assert_eq!(claimed(&store, wanted(ExecutorId::now())).await, Some(4));
}

pub(in crate::store) async fn the_tail_is_stolen_last(db: &impl Backend) {
    let store = db.open().await;
    queued_with(&store, &two_shares()).await;
    let mut order = Vec::new();
    while let Some(chunk) = claimed(&store, wanted(ExecutorId::now())).await {
        order.push(chunk);
    }
    assert_eq!(order, [0, 4, 7, 6, 5, 3, 2, 1]);
}

pub(in crate::store) async fn a_theft_must_pay(db: &impl Backend) {
    let store = db.open().await;
    let mut chunks = two_shares();
    for short in [2, 3, 6, 7] {
        chunks[short].stealable = false;
    }
    // The lane that had begun the second share is gone.
    chunks[4].share_head = false;
    let id = queued_with(&store, &chunks).await;
    assert_eq!(claimed(&store, warm(id, 0)).await, Some(0));
    for (expected, why) in [(7, "nobody's"), (5, "it pays"), (4, "it pays"), (1, "it pays")] {
        assert_eq!(claimed(&store, wanted(ExecutorId::now())).await, Some(expected), "{why}");
    }
    assert_eq!(claimed(&store, wanted(ExecutorId::now())).await, None, "what is left is its lanes' own");
    for (share, expected) in [(1, Some(6)), (0, Some(2)), (0, Some(3)), (0, None)] {
        assert_eq!(claimed(&store, warm(id, share)).await, expected);
    }
}

pub(in crate::store) async fn priority_then_age_decide(db: &impl Backend) {
    let store = db.open().await;
    let mut ids = Vec::new();
    for priority in [0, -5, 7, 7] {
        let id = planning_with(&store, |batch| batch.spec.priority = priority).await;
        activate(&store, id, &[new_chunk(0, 1), new_chunk(1, 1)]).await;
        ids.push(id);
    }
    let mut order = Vec::new();
    while let Some((_, claim)) = claim(&store, ExecutorId::now()).await {
        order.push((ids.iter().position(|&id| id == claim.batch).unwrap(), claim.chunk));
    }
    assert_eq!(order, [(2, 0), (3, 0), (2, 1), (3, 1), (0, 0), (0, 1), (1, 0), (1, 1)]);
}

pub(in crate::store) async fn a_warm_lane_yields_to_priority(db: &impl Backend) {
    let store = db.open().await;
    let mut ids = Vec::new();
    for priority in [0, 1] {
        let id = planning_with(&store, |batch| batch.spec.priority = priority).await;
        activate(&store, id, &[new_chunk(0, 1), new_chunk(1, 1)]).await;
        ids.push(id);
    }
    for wanted in [ids[1], ids[1], ids[0], ids[0]] {
        let claim = claim_with(&store, warm(ids[0], 0)).await;
        assert_eq!(claim.map(|(_, claim)| claim.batch), Some(wanted));
    }
}

pub(in crate::store) async fn what_nobody_may_steal_holds_no_lane_up(db: &impl Backend) {
    let store = db.open().await;
    let mut ids = Vec::new();
    for priority in [0, 1] {
        let id = planning_with(&store, |batch| batch.spec.priority = priority).await;
        let short = NewChunk { stealable: priority == 0, ..new_chunk(1, 1) };
        activate(&store, id, &[new_chunk(0, 1), short]).await;
        ids.push(id);
    }
    for wanted in [Some(ids[1]), Some(ids[0]), Some(ids[0]), None] {
        assert_eq!(claim(&store, ExecutorId::now()).await.map(|(_, claim)| claim.batch), wanted);
    }
    assert_eq!(claim_with(&store, warm(ids[1], 0)).await.map(|(_, claim)| claim.batch), Some(ids[1]));
}

pub(in crate::store) async fn only_qualified_engines_claim(db: &impl Backend) {
    let store = db.open().await;
    let id = queued_with(&store, &[NewChunk { kinds: 0b110, ..new_chunk(0, 1) }]).await;
    let engine = |models: &[(&str, i64)], kind| {
        let models = models.iter().map(|&(model, context)| offer(model, context)).collect();
        Wanted { models, kind, ..warm(id, 0) }
    };
    for engine in [engine(&[], 2), engine(&[("x", 0)], 2), engine(&[("m", 99)], 2), engine(&[("m", 100)], 8)]
    {
        assert_eq!(claimed(&store, engine.clone()).await, None, "{engine:?}");
        let cold = Wanted { warm: None, ..engine };
        assert_eq!(claimed(&store, cold.clone()).await, None, "{cold:?}");
    }
    for engine in [engine(&[("m", 0)], 2), engine(&[("x", 1), ("m", 100)], 4), engine(&[("m", 101)], 6)] {
        for engine in [engine.clone(), Wanted { warm: None, ..engine }] {
            let (held, claim) = claim_with(&store, engine.clone()).await.unwrap();
            assert_eq!(claim.chunk, 0);
            assert!(store.hand_back(engine.executor, held.lease, held.epoch).await.unwrap());
        }
    }
}

/// A lane of an engine with this digest of the model; warm for a share, or cold.
fn of_digest(digest: &str, warm: Option<Warm>) -> Wanted {
    let models = vec![Offer { digest: digest.into(), ..offer("m", 100) }];
    Wanted { models, warm, ..wanted(ExecutorId::now()) }
}

fn pin(model: &str, digest: &str) -> Pin {
    Pin { model: model.into(), digest: digest.into() }
}

pub(in crate::store) async fn the_first_claim_pins_the_digest(db: &impl Backend) {
    let store = db.open().await;
    // Of a higher priority, so that it is looked at first.
    let first = planning_with(&store, |batch| batch.spec.priority = 1).await;
    activate(&store, first, &two_shares()).await;
    let second = queued_with(&store, &two_shares()).await;
    assert_eq!(batch(&store, first).await.pins, []);
    let lane = of_digest("a", None);
    let (held, claim) = claim_with(&store, lane.clone()).await.unwrap();
    assert_eq!((claim.batch, claim.model.as_str(), claim.digest.as_str()), (first, "m", "a"));
    assert_eq!(batch(&store, first).await.pins, [pin("m", "a")]);

    // Warm or not: the other digest gets nothing of it, and is not held up by it.
    let warm = Some(Warm { batch: first, group: 0, share: 0 });
    for (warm, digest) in [(warm, "b"), (None, "b"), (None, "")] {
        let other = claim_with(&store, of_digest(digest, warm)).await.map(|(_, claim)| claim.batch);
        assert_eq!(other, (digest == "b").then_some(second), "{digest}");
    }
    let again = claim_with(&store, of_digest("a", warm)).await.unwrap().1;
    assert_eq!((again.batch, again.chunk), (first, 1));

    // What is given back stays with its digest.
    assert_eq!(store.waiting_pins(first).await.unwrap(), [pin("m", "a")]);
    let revision = batch(&store, first).await.revision;
    assert!(store.hand_back(lane.executor, held.lease, held.epoch).await.unwrap());
    let mut rest = BTreeSet::new();
    while let Some((_, claim)) = claim_with(&store, of_digest("a", None)).await {
        assert_eq!(claim.batch, first, "the second is held to the other digest");
        rest.insert(claim.chunk);
    }
    assert_eq!(rest, BTreeSet::from([0, 2, 3, 4, 5, 6, 7]));
    assert_eq!(store.waiting_pins(first).await.unwrap(), []);
    assert_eq!(batch(&store, first).await.revision, revision, "pinned once");
    assert_eq!(batch(&store, second).await.pins, [pin("m", "b")]);
}

pub(in crate::store) async fn a_model_is_pinned_by_itself(db: &impl Backend) {
    let store = db.open().await;
    let other = NewChunk { model: "other".into(), group: 1, ..new_chunk(1, 1) };
    let id = queued_with(&store, &[new_chunk(0, 1), other]).await;
    assert_eq!(claimed(&store, of_digest("", None)).await, Some(0), "an engine that tells no digest");
    let before = batch(&store, id).await;
    assert_eq!(before.pins, [pin("m", "")]);
    assert_eq!(store.waiting_pins(id).await.unwrap(), [], "what waits is not pinned");
    assert_eq!(claimed(&store, wanted(ExecutorId::now())).await, Some(1));
    let after = batch(&store, id).await;
    assert_eq!(after.pins, [pin("m", ""), pin("other", "other1")]);
    assert!(after.revision > before.revision, "a watcher hears of it");
}

pub(in crate::store) async fn who_may_not_pin_waits_for_a_pin(db: &impl Backend) {
    let store = db.open().await;
    let id = queued_with(&store, &two_shares()).await;
    let shy = |digest| {
        let lane = of_digest(digest, Some(Warm { batch: id, group: 0, share: 0 }));
        Wanted {
            models: lane.models.into_iter().map(|offer| Offer { pins: false, ..offer }).collect(),
            ..lane
        }
    };
    assert_eq!(claimed(&store, shy("a")).await, None);
    assert_eq!(state(&store, id).await, State::Queued);
    assert_eq!(claimed(&store, of_digest("a", None)).await, Some(0));
    assert_eq!(claimed(&store, shy("b")).await, None);
    assert_eq!(claimed(&store, shy("a")).await, Some(1));
}

pub(in crate::store) async fn only_queued_and_running_batches_are_claimed(db: &impl Backend) {
    let store = db.open().await;
    let id = planning(&store).await;
    store.add_chunks(id, plan(), &[new_chunk(0, 1), new_chunk(1, 1), new_chunk(2, 1)]).await.unwrap();
    assert_eq!(claimed(&store, warm(id, 0)).await, None, "planning");
    store.activate(id, &planned(3, 3), 8).await.unwrap();
    assert_eq!(claimed(&store, warm(id, 0)).await, Some(0), "queued");
    assert_eq!(claimed(&store, warm(id, 0)).await, Some(1), "running");
    store.advance(id, &[State::Running], State::Paused, 9).await.unwrap();
    assert_eq!(claimed(&store, warm(id, 0)).await, None, "paused");
    assert_eq!(claimed(&store, wanted(ExecutorId::now())).await, None, "paused");
    store.advance(id, &[State::Paused], State::Running, 9).await.unwrap();
    assert_eq!(claimed(&store, wanted(ExecutorId::now())).await, Some(2), "running again");
}

pub(in crate::store) async fn the_first_claim_starts_a_batch(db: &impl Backend) {
    let store = db.open().await;
    let id = planning(&store).await;
    activate(&store, id, &[new_chunk(0, 1), new_chunk(1, 1)]).await;
    claim_with(&store, Wanted { now: 60, ..wanted(ExecutorId::now()) }).await.unwrap();
    claim_with(&store, Wanted { now: 70, ..wanted(ExecutorId::now()) }).await.unwrap();
    let batch = batch(&store, id).await;
    assert_eq!((batch.state, batch.started, batch.provisional), (State::Running, Some(60), false));
    assert_eq!(batch.chunks, v1::ChunkCounts { total: 2, done: 0, running: 2 });
}

pub(in crate::store) async fn lanes_are_answered_together(db: &impl Backend) {
    let store = db.open().await;
    let other = NewChunk { model: "x".into(), group: 1, share_head: true, ..new_chunk(8, 1) };
    let id = queued_with(&store, &[two_shares(), vec![other]].concat()).await;
    let of_x = || Wanted { models: vec![offer("x", 0)], ..wanted(ExecutorId::now()) };
    let lanes = [warm(id, 1), of_x(), wanted(ExecutorId::now()), of_x(), warm(id, 1), warm(id, 0)];
    let claims = store.claim(&lanes).await.unwrap();
    let chunks: Vec<_> = claims.iter().map(|claim| claim.as_ref().map(|claim| claim.chunk)).collect();
    // The third lane asked before the last one, which is at the share whose head it could have had.
    assert_eq!(chunks, [Some(4), Some(8), Some(7), None, Some(5), Some(0)]);
    let mut leases: Vec<_> = store.leases(Some(id)).await.unwrap().iter().map(|lease| lease.id).collect();
    let mut expected: Vec<_> = [0, 1, 2, 4, 5].map(|lane: usize| lanes[lane].lease).into();
    leases.sort_unstable();
    expected.sort_unstable();
    assert_eq!(leases, expected, "each under the id that it asked with");
    assert_eq!(store.claim(&[]).await.unwrap(), []);
}

pub(in crate::store) async fn no_chunk_is_claimed_twice(db: &impl Backend) {
    const CHUNKS: i32 = 200;
    let store = Arc::new(db.open().await);
    let id = queued(&*store, &vec![1; usize::try_from(CHUNKS).unwrap()]).await;
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let mut mine = Vec::new();
            while let Some(chunk) = claimed(&*store, warm(id, 0)).await {
                mine.push(chunk);
            }
            mine
        });
    }
    let mut all = tasks.join_all().await.concat();
    all.sort_unstable();
    assert_eq!(all, (0..CHUNKS).collect::<Vec<_>>());
}

/// 20,000 chunks, claimed in all three ways beside 50 batches that the engine cannot serve. The bound
/// is generous: a claim that reads all queued chunks takes a hundred times as long.
pub(in crate::store) async fn claims_stay_quick(db: &impl Backend) {
    const CHUNKS: i32 = 20_000;
    let store = db.open().await;
    for _ in 0..50 {
        queued_with(&store, &[NewChunk { model: "x".into(), ..new_chunk(0, 1) }]).await;
    }
    let id = planning(&store).await;
    let chunks: Vec<_> = (0..CHUNKS)
        .map(|number| NewChunk { share: number / 100, share_head: number % 100 == 0, ..new_chunk(number, 1) })
        .collect();
    for some in chunks.chunks(500) {
        store.add_chunks(id, plan(), some).await.unwrap();
    }
    store.activate(id, &planned(chunks.len(), CHUNKS.into()), 8).await.unwrap();
    let begun = std::time::Instant::now();
    let mut seen = BTreeSet::new();
    for round in 0..600 {
        let lane = if round % 3 == 0 { wanted(ExecutorId::now()) } else { warm(id, round % 7) };
        assert!(seen.insert(claimed(&store, lane).await.unwrap()));
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "600 claims took {:?}", begun.elapsed());
}
