//! Whatever happens in whatever order: the store against a model of ten lines.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

use super::{audit::audit, *};

/// Seeds are fixed: a failure comes back.
const SEEDS: u64 = 12;
const STEPS: usize = 250;
/// How likely the planner dies before a step.
const CRASH: f64 = 0.01;
/// Later than all that happens.
const DEADLINE: Micros = 1 << 40;
const SIZES: [i32; 7] = [1, 3, 8, 9, 2, 17, 5];

/// What the store should hold.
struct Model {
    batch: BatchId,
    executors: Vec<ExecutorId>,
    state: State,
    /// Its deadline has passed.
    overdue: bool,
    /// The digest that the first claim came with.
    pinned: Option<&'static str>,
    /// Requests that are final.
    done: BTreeSet<(i32, i32)>,
    /// The newest lease of a chunk, until the chunk is done or the lease is handed back.
    newest: BTreeMap<i32, (ExecutorId, Held, Micros)>,
    /// Chunks whose lease expired and that nobody claimed.
    expired: BTreeSet<i32>,
    /// Every lease there ever was.
    history: Vec<(ExecutorId, Held)>,
    sent: HashMap<SegmentId, NewSegment>,
    now: Micros,
}

pub(in crate::store) async fn any_order_keeps_the_laws(db: &impl Backend) {
    let mut store = db.open().await;
    for seed in 0..SEEDS {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut model = Model::new(&store).await;
        for step in 0..STEPS {
            if rng.random_bool(CRASH) {
                drop(store);
                store = db.open().await;
            }
            model.step(&store, &mut rng).await;
            if step % 10 == 0 {
                audit(&store, model.batch, &model.sent).await;
            }
        }
        model.end(&store).await;
    }
}

/// A queued batch that is overdue whenever a step says so.
async fn due(store: &impl Store) -> BatchId {
    let id = planning_with(store, |batch| batch.deadline = Some(DEADLINE)).await;
    let chunks: Vec<_> = SIZES.iter().zip(0..).map(|(&size, number)| new_chunk(number, size)).collect();
    activate(store, id, &chunks).await;
    id
}

fn requests() -> impl Iterator<Item = (i32, i32)> {
    (0..).zip(SIZES).flat_map(|(chunk, size)| (0..size).map(move |index| (chunk, index)))
}

impl Model {
    async fn new(store: &impl Store) -> Self {
        Self {
            batch: due(store).await,
            executors: vec![ExecutorId::now(), ExecutorId::now(), ExecutorId::now()],
            state: State::Queued,
            overdue: false,
            pinned: None,
            done: BTreeSet::new(),
            newest: BTreeMap::new(),
            expired: BTreeSet::new(),
            history: Vec::new(),
            sent: HashMap::new(),
            now: 50,
        }
    }

    async fn step(&mut self, store: &impl Store, rng: &mut StdRng) {
        self.now += rng.random_range(0..TTL / 4);
        match rng.random_range(0..100) {
            0..30 => self.claim(store, rng).await,
            30..50 => self.heartbeat(store, rng).await,
            50..58 => self.hand_back(store, rng).await,
            58..68 => self.expire(store).await,
            68..92 => self.commit(store, rng).await,
            92..99 => self.pause_or_resume(store).await,
            _ if rng.random_bool(0.7) => {}
            _ if rng.random_bool(0.5) => self.cancel(store).await,
            _ => self.end_overdue(store).await,
        }
    }

    fn is_open(&self, chunk: i32) -> bool {
        requests().any(|request| request.0 == chunk && !self.done.contains(&request))
    }

    fn is_claimable(&self, chunk: i32) -> bool {
        matches!(self.state, State::Queued | State::Running)
            && self.is_open(chunk)
            && (!self.newest.contains_key(&chunk) || self.expired.contains(&chunk))
    }

    fn holds(&self, executor: ExecutorId, named: &Held) -> Option<i32> {
        let holder = |(_, (holder, held, _)): &(&i32, &(ExecutorId, Held, Micros))| {
            *holder == executor && (held.lease, held.epoch) == (named.lease, named.epoch)
        };
        self.newest.iter().find(holder).map(|(&chunk, _)| chunk)
    }

    async fn claim(&mut self, store: &impl Store, rng: &mut StdRng) {
        let executor = *self.executors.choose(rng).unwrap();
        let share = rng.random_range(0..2);
        let warm = rng.random_bool(0.5).then_some(Warm { batch: self.batch, group: 0, share });
        let deadline = self.now + TTL;
        let digest = *["a", "b"].choose(rng).unwrap();
        let models = vec![Offer { digest: digest.into(), ..offer("m", 0) }];
        let wanted = Wanted { now: self.now, deadline, warm, models, ..wanted(executor) };
        let fits = self.pinned.is_none_or(|pinned| pinned == digest);
        let Some((held, claim)) = claim_with(store, wanted).await else {
            let all_gone = (0..).zip(SIZES).all(|(chunk, _)| !self.is_claimable(chunk));
            assert!(all_gone || !fits, "there was one to claim");
            return;
        };
        assert!(fits && claim.digest == digest, "{digest} for a batch held to {:?}", self.pinned);
        self.pinned = Some(digest);
        assert!(self.is_claimable(claim.chunk), "chunk {} was not to be had", claim.chunk);
        self.state = State::Running;
        self.expired.remove(&claim.chunk);
        self.newest.insert(claim.chunk, (executor, held, deadline));
        self.history.push((executor, held));
    }

    async fn heartbeat(&mut self, store: &impl Store, rng: &mut StdRng) {
        let executor = *self.executors.choose(rng).unwrap();
        let named: Vec<Held> = self
            .history
            .iter()
            .rev()
            .take(12)
            .filter(|(holder, _)| *holder == executor || rng.random_bool(0.1))
            .map(|(_, held)| *held)
            .collect();
        let deadline = self.now + TTL;
        let lost = store.heartbeat(executor, &named, deadline).await.unwrap();
        let mut expected = Vec::new();
        for held in named {
            match self.holds(executor, &held) {
                Some(chunk) => {
                    self.expired.remove(&chunk);
                    self.newest.insert(chunk, (executor, held, deadline));
                }
                None => expected.push(held.lease),
            }
        }
        assert_eq!(lost, expected);
    }

    async fn hand_back(&mut self, store: &impl Store, rng: &mut StdRng) {
        let Some(&(executor, held)) = self.history.choose(rng) else { return };
        let was_held = store.hand_back(executor, held.lease, held.epoch).await.unwrap();
        let chunk = self.holds(executor, &held);
        assert_eq!(was_held, chunk.is_some());
        if let Some(chunk) = chunk {
            self.newest.remove(&chunk);
            self.expired.remove(&chunk);
        }
    }

    async fn expire(&mut self, store: &impl Store) {
        let before = self.expired.len();
        let due = self.newest.iter().filter(|(_, (_, _, deadline))| *deadline <= self.now);
        self.expired.extend(due.map(|(chunk, _)| *chunk).collect::<Vec<_>>());
        let expired = store.expire(self.now).await.unwrap();
        assert_eq!(usize::try_from(expired).unwrap(), self.expired.len() - before);
    }

    async fn commit(&mut self, store: &impl Store, rng: &mut StdRng) {
        let all: Vec<_> = requests().collect();
        let count = rng.random_range(1..6);
        let mut pieces: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        for _ in 0..count {
            let (chunk, index) = *all.choose(rng).unwrap();
            pieces.entry(chunk).or_default().push(index);
        }
        let named: Vec<_> = pieces.iter().map(|(&chunk, indexes)| (chunk, indexes.as_slice())).collect();
        self.deliver(store, &named).await;
    }

    async fn deliver(&mut self, store: &impl Store, pieces: &[(i32, &[i32])]) {
        let segment = segment(pieces);
        let takes = self.takes_work() || self.state == State::Cancelling || self.overdue;
        let open_before: Vec<i32> = (0..).zip(SIZES).map(|(c, _)| c).filter(|&c| self.is_open(c)).collect();
        let before = self.done.len();
        if takes {
            self.done.extend(pieces.iter().flat_map(|&(chunk, some)| some.iter().map(move |&i| (chunk, i))));
        }
        let commit = store.commit(self.batch, &segment, self.now).await.unwrap();
        assert_eq!(usize::try_from(commit.accepted).unwrap(), self.done.len() - before);
        let chunks_done: Vec<i32> = open_before.into_iter().filter(|&chunk| !self.is_open(chunk)).collect();
        assert_eq!(commit.chunks_done, chunks_done);
        assert_eq!(commit.batch_done, commit.accepted > 0 && self.done.len() == requests().count());
        for chunk in chunks_done {
            self.newest.remove(&chunk);
            self.expired.remove(&chunk);
        }
        if commit.batch_done && self.state != State::Cancelling {
            self.state = State::Finalizing;
        }
        self.sent.insert(segment.id, segment);
    }

    async fn pause_or_resume(&mut self, store: &impl Store) {
        let going_on = if self.history.is_empty() { State::Queued } else { State::Running };
        let (now, to) = match self.state {
            State::Paused => (store.resume(self.batch).await, going_on),
            State::Queued | State::Running => (store.pause(self.batch).await, State::Paused),
            other => (store.pause(self.batch).await, other),
        };
        assert_eq!(now.unwrap(), Some(to));
        self.state = to;
    }

    fn takes_work(&self) -> bool {
        matches!(self.state, State::Queued | State::Running | State::Paused)
    }

    async fn cancel(&mut self, store: &impl Store) {
        let cancelled = store.cancel(self.batch, self.now).await.unwrap().unwrap();
        if self.takes_work() {
            self.stop(cancelled.revoked);
            self.state = State::Cancelling;
        }
        assert_eq!(cancelled.state, self.state);
    }

    async fn end_overdue(&mut self, store: &impl Store) {
        let ended = store.end_overdue(DEADLINE, 1_000).await.unwrap();
        let ended = ended.into_iter().find(|(id, _)| *id == self.batch);
        assert_eq!(ended.is_some(), self.takes_work());
        if let Some((_, ended)) = ended {
            self.stop(ended.revoked);
            (self.state, self.overdue) = (State::Finalizing, true);
            assert_eq!(ended.state, self.state);
        }
    }

    fn stop(&mut self, mut revoked: Vec<(ExecutorId, LeaseId)>) {
        let mut expected: Vec<_> =
            self.newest.values().map(|(holder, held, _)| (*holder, held.lease)).collect();
        expected.sort_unstable();
        revoked.sort_unstable();
        assert_eq!(revoked, expected);
        self.newest.clear();
        self.expired.clear();
    }

    /// Delivers what is left and ends the batch.
    async fn end(mut self, store: &impl Store) {
        assert_eq!(state(store, self.batch).await, self.state);
        let all: Vec<_> =
            (0..).zip(SIZES).map(|(chunk, size)| (chunk, (0..size).collect::<Vec<_>>())).collect();
        let all: Vec<_> = all.iter().map(|(chunk, indexes)| (*chunk, indexes.as_slice())).collect();
        self.deliver(store, &all).await;
        audit(store, self.batch, &self.sent).await;
        assert!(store.finish(self.batch, &Outputs::default(), self.now).await.unwrap());
        let ended = batch(store, self.batch).await;
        assert_eq!(ended.requests.succeeded, i64::try_from(requests().count()).unwrap());
        let expected = match (self.state, self.overdue) {
            (State::Cancelling, _) => State::Cancelled,
            (_, true) => State::Expired,
            _ => State::Completed,
        };
        assert_eq!(ended.state, expected);
    }
}
