//! Everything at once: nobody deadlocks, and the books balance afterwards.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use tokio::{task::JoinSet, time::timeout};

use super::{audit::audit, *};

const TASKS: u64 = 8;
const STEPS: usize = 120;
/// Long enough for a machine that compiles beside it; a deadlock of which no database knows would last for ever.
const LIMIT: Duration = Duration::from_secs(60);
const SIZES: [i32; 6] = [3, 9, 1, 17, 5, 8];

/// One of those who work at the same time.
struct Worker<S> {
    store: Arc<S>,
    batches: Vec<BatchId>,
    sent: Arc<Mutex<HashMap<SegmentId, NewSegment>>>,
    executor: ExecutorId,
    held: Vec<Held>,
    rng: StdRng,
    now: Micros,
}

pub(in crate::store) async fn nobody_waits_for_ever(db: &impl Backend) {
    let store = Arc::new(db.open().await);
    let mut batches = Vec::new();
    for _ in 0..3 {
        batches.push(queued(&*store, &SIZES).await);
    }
    let sent = Arc::<Mutex<HashMap<_, _>>>::default();
    let mut tasks = JoinSet::new();
    for seed in 0..TASKS {
        let worker = Worker {
            store: Arc::clone(&store),
            batches: batches.clone(),
            sent: Arc::clone(&sent),
            executor: ExecutorId::now(),
            held: Vec::new(),
            rng: StdRng::seed_from_u64(seed),
            now: 50,
        };
        tasks.spawn(worker.run());
    }
    timeout(LIMIT, tasks.join_all()).await.expect("somebody waits for ever");
    let sent = std::mem::take(&mut *sent.lock().unwrap());
    for id in batches {
        audit(&*store, id, &sent).await;
    }
}

impl<S: Store> Worker<S> {
    async fn run(mut self) {
        for _ in 0..STEPS {
            self.step().await;
        }
    }

    async fn step(&mut self) {
        self.now += self.rng.random_range(0..TTL / 8);
        let (store, now) = (Arc::clone(&self.store), self.now);
        let batch = *self.batches.choose(&mut self.rng).unwrap();
        match self.rng.random_range(0..100) {
            0..30 => self.claim().await,
            30..50 => drop(store.heartbeat(self.executor, &self.held, now + TTL).await.unwrap()),
            50..58 => {
                if let Some(held) = self.held.pop() {
                    store.hand_back(self.executor, held.lease, held.epoch).await.unwrap();
                }
            }
            58..66 => drop(store.expire(now).await.unwrap()),
            66..90 => self.commit(batch).await,
            90..94 => drop(store.advance(batch, &[State::Running], State::Paused, now).await.unwrap()),
            94..98 => drop(store.advance(batch, &[State::Paused], State::Running, now).await.unwrap()),
            98 => store.explain(batch, "WHY", &now.to_string()).await.unwrap(),
            _ => drop(store.cancel(batch, now).await.unwrap()),
        }
    }

    async fn claim(&mut self) {
        let count = self.rng.random_range(1..5);
        let lane = |_| Wanted { now: self.now, deadline: self.now + TTL, ..wanted(self.executor) };
        let wanted: Vec<_> = (0..count).map(lane).collect();
        let claims = self.store.claim(&wanted).await.unwrap();
        assert_eq!(claims.len(), wanted.len());
        for (wanted, claim) in wanted.iter().zip(claims) {
            self.held.extend(claim.map(|claim| Held {
                lease: wanted.lease,
                epoch: claim.epoch,
                started: true,
            }));
        }
    }

    /// Of one chunk or several, in any order.
    async fn commit(&mut self, batch: BatchId) {
        let count = self.rng.random_range(1..4);
        let one = |_| {
            let chunk = self.rng.random_range(0..SIZES.len());
            (i32::try_from(chunk).unwrap(), vec![self.rng.random_range(0..SIZES[chunk])])
        };
        let pieces: Vec<_> = (0..count).map(one).collect();
        let pieces: Vec<_> = pieces.iter().map(|(chunk, indexes)| (*chunk, indexes.as_slice())).collect();
        let segment = segment(&pieces);
        self.sent.lock().unwrap().insert(segment.id, segment.clone());
        self.store.commit(batch, &segment, self.now).await.unwrap();
    }
}

pub(in crate::store) async fn what_is_exclusive_has_one_holder(db: &impl Backend) {
    let store = db.open().await;
    let (one, two) = (Exclusive::Step(BatchId::now()), Exclusive::Upkeep("test"));
    let held = store.exclusive(one).await.unwrap().expect("nobody has it");
    assert!(store.exclusive(one).await.unwrap().is_none(), "it is held");
    assert!(store.exclusive(two).await.unwrap().is_some(), "another is free");
    drop(held);
    is_free(&store, one).await;
}

/// Waits until it can be had: a database hears a moment later that it was given up.
pub(in crate::store) async fn is_free(store: &impl Store, what: Exclusive) {
    let free = async {
        while store.exclusive(what).await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, free).await.expect("it was given up");
}

pub(in crate::store) async fn time_goes_on(db: &impl Backend) {
    let store = db.open().await;
    let (first, here, second) = (store.now().await.unwrap(), crate::clock::now(), store.now().await.unwrap());
    assert!(first <= second, "{first} and then {second}");
    assert!((here - first).abs() < 10_000_000, "microseconds since 1970: {first}, and here {here}");
}
