use std::{sync::Arc, time::Instant};

use anyhow::{Context as _, ensure};
use caravan_plan::{Chunk, Fleet, Head, Input, Origin, Plan, Policy, Request, Speed, Tokens};
use caravan_planner::store::{
    Batch, Claim, Compacted, Held, Micros, NewBatch, NewChunk, NewFile, NewPiece, NewSegment, Offer, Outputs,
    Planned, Quota, Record, State, Store, StoreUrl, Wanted, Warm, postgres,
};
use caravan_proto::{
    Tenant,
    name::{BatchId, ExecutorId, FileId, LeaseId, PlanId, SegmentId},
    v1,
};

use crate::database::Database;

const MODEL: &str = "m";
/// Lanes of an executor.
const LANES: usize = 8;
/// Ticks that a lane needs for a request. A tick is a second: so slow, nearly every result is a piece of its own,
/// which is the most that a batch can take.
const TICKS: usize = 4;
const TICK: Micros = 1_000_000;
/// Credits that a planner answers at once, and chunks that it compacts at once.
const AT_ONCE: usize = 32;
const COMPACTED: i64 = 64;
/// Ticks between two looks at the database.
const LOOK: usize = 500;
/// Tokens of an answer, and bytes of its record.
const ANSWER: i64 = 100;
const BYTES: i64 = 700;

/// The limits.
const ROWS_A_CHUNK: f64 = 3.0;
const BYTES_A_BATCH: f64 = 100e6;

/// A batch from its plan to its end, a tick after the other, as fast as the database takes them. It has less
/// time to clean up than it would have.
pub(crate) async fn run(requests: u32, lanes: u32) -> anyhow::Result<()> {
    let plan = plan(requests, lanes)?;
    let chunks = plan.chunks.len();
    println!("{requests} requests, {chunks} chunks, {lanes} lanes, {TICKS} s a request");
    for database in Database::of_each_kind()? {
        let url: StoreUrl = database.url().parse()?;
        let store = url.open(postgres::Options::default()).await?;
        let empty = database.bytes().await?;
        let since = Instant::now();
        let mut batch = Running::queued(store, &plan).await?;
        let planned = database.bytes().await? - empty;
        let (mut most, mut ticks) = (planned, 0_usize);
        let mut lanes: Vec<Lane> = (0..lanes as usize).map(Lane::new).collect();
        while !batch.tick(&mut lanes).await? {
            ticks += 1;
            if ticks.is_multiple_of(LOOK) {
                most = most.max(database.bytes().await? - empty);
            }
        }
        batch.end().await?;
        let (bytes, rows) = (database.bytes().await? - empty, database.rows().await?);
        most = most.max(bytes);
        println!("{}: {ticks} ticks in {:.0} s", database.kind(), since.elapsed().as_secs_f64());
        let each = rows as f64 / chunks as f64;
        println!("  {each:.2} rows a chunk, {:.2} x the limit", each / ROWS_A_CHUNK);
        let mb = |bytes: u64| bytes as f64 / 1e6;
        println!("  planned {:.1} MB, ended {:.1} MB", mb(planned), mb(bytes));
        println!("  at most {:.1} MB, {:.2} x the limit", mb(most), most as f64 / BYTES_A_BATCH);
    }
    Ok(())
}

/// Chunks as planned for so many lanes, each of which needs `TICKS` seconds for a request.
fn plan(requests: u32, lanes: u32) -> anyhow::Result<Plan> {
    let request = Request {
        group: 0,
        prompt_tokens: 600,
        prompt_tokens_low: 600,
        answer_tokens: u32::try_from(ANSWER).ok().and_then(std::num::NonZeroU32::new),
        bytes: 2_000,
    };
    let requests = vec![request; requests as usize];
    let heads = [Head { model: 0, prefix_tokens: 500, bytes: 2_000, answers: true }];
    let speed = Speed {
        lanes: 1,
        prompt_seconds: 0.0,
        answer_seconds: TICKS as f64 / ANSWER as f64,
        request_seconds: 0.0,
    };
    let fleets = [Fleet {
        lanes,
        lanes_known: true,
        context: Tokens(32_768),
        speeds: vec![speed],
        sliding_window: None,
        reuse: Vec::new(),
        answer_share: None,
        reserve_share: None,
        origin: Origin::Profile,
    }];
    let input = Input { requests: &requests, heads: &heads, fleets: &fleets, policy: &Policy::default() };
    Ok(caravan_plan::plan(input)?)
}

/// A batch that runs.
struct Running {
    store: Arc<dyn Store>,
    id: BatchId,
    now: Micros,
    tick: usize,
}

struct Lane {
    number: usize,
    executor: ExecutorId,
    warm: Option<Warm>,
    running: Option<(LeaseId, Claim, i32)>,
}

// === impl Running ===

impl Running {
    async fn queued(store: Arc<dyn Store>, plan: &Plan) -> anyhow::Result<Self> {
        let (input, id) = (FileId::now(), BatchId::now());
        let purpose = v1::file::Purpose::Batch;
        let file = NewFile {
            id: input,
            tenant: Tenant::default(),
            upload_id: None,
            filename: "in.jsonl".into(),
            purpose,
            created: 1,
        };
        store.open_file(&file).await?;
        ensure!(store.close_file(input, "").await?, "the input is not ready");
        let spec = v1::Batch::default();
        let new = NewBatch {
            id,
            tenant: Tenant::default(),
            request_id: None,
            spec,
            input,
            created: 1,
            deadline: None,
            retry: None,
            quota: Quota::default(),
        };
        store.create_batch(&new).await?;
        store.advance(id, &[State::Validating], State::Planning, 2).await?;
        let plan_id = PlanId::now();
        store.reset_plan(id, plan_id).await?;
        let chunks: Vec<NewChunk> =
            plan.chunks.iter().zip(0..).map(|(chunk, number)| row(chunk, number)).collect();
        for some in chunks.chunks(200) {
            store.add_chunks(id, plan_id, some).await?;
        }
        let planned = Planned {
            id: plan_id,
            total: plan.order.len() as i64,
            chunks: chunks.len() as i64,
            plan: v1::Plan { requests: plan.order.len() as i64, ..Default::default() },
            provisional: false,
            line_errors: Vec::new(),
            line_error_count: 0,
            rejected: None,
        };
        ensure!(store.activate(id, &planned, 3).await?, "the batch is not queued");
        Ok(Self { store, id, now: 3, tick: 0 })
    }

    /// A second of all lanes and of the planner. True if it was the last.
    async fn tick(&mut self, lanes: &mut [Lane]) -> anyhow::Result<bool> {
        self.now += TICK;
        self.tick += 1;
        self.lease(lanes).await?;
        let pieces: Vec<NewPiece> = lanes.iter_mut().filter_map(|lane| lane.answer(self.tick)).collect();
        let bytes = pieces.len() as i64 * BYTES;
        let pieces = pieces.into_iter().zip(0..).map(|(piece, at)| NewPiece { offset: at * BYTES, ..piece });
        let segment = NewSegment { id: SegmentId::now(), bytes, pieces: pieces.collect() };
        let done = self.store.commit(self.id, &segment, self.now).await?.batch_done;
        self.heartbeat(lanes).await?;
        if done || self.tick.is_multiple_of(LANES) {
            self.compact().await?;
        }
        Ok(done)
    }

    async fn lease(&self, lanes: &mut [Lane]) -> anyhow::Result<()> {
        let mut idle: Vec<&mut Lane> = lanes.iter_mut().filter(|lane| lane.running.is_none()).collect();
        for some in idle.chunks_mut(AT_ONCE) {
            let wanted: Vec<Wanted> = some.iter().map(|lane| lane.wanted(self.now)).collect();
            let claims = self.store.claim(&wanted).await?;
            for ((lane, wanted), claim) in some.iter_mut().zip(&wanted).zip(claims) {
                lane.running = claim.map(|claim| (wanted.lease, claim, 0));
            }
        }
        Ok(())
    }

    /// One executor's, whose turn it is.
    async fn heartbeat(&self, lanes: &[Lane]) -> anyhow::Result<()> {
        let executors: Vec<&[Lane]> = lanes.chunks(LANES).collect();
        let mine = executors.get(self.tick % executors.len()).copied().unwrap_or_default();
        let running = mine.iter().filter_map(|lane| lane.running.as_ref());
        let held = running.map(|(lease, claim, _)| Held { lease: *lease, epoch: claim.epoch, started: true });
        let held: Vec<Held> = held.collect();
        if let Some(lane) = mine.first() {
            self.store.heartbeat(lane.executor, &held, self.now + 10 * TICK).await?;
        }
        Ok(())
    }

    async fn compact(&self) -> anyhow::Result<()> {
        for (batch, chunk) in self.store.uncompacted(COMPACTED).await? {
            let bytes = i64::from(chunk.size) * BYTES;
            let object = Compacted { id: SegmentId::now(), bytes, first_line: 1 };
            self.store.set_compacted(batch, chunk.number, &object).await?;
        }
        Ok(())
    }

    async fn end(&self) -> anyhow::Result<()> {
        while !self.store.uncompacted(1).await?.is_empty() {
            self.compact().await?;
        }
        ensure!(self.store.finish(self.id, &Outputs::default(), self.now).await?, "the batch goes on");
        let batch: Batch = self.store.batch(self.id).await?.context("the batch is gone")?;
        ensure!(
            batch.state == State::Completed && batch.requests.succeeded == batch.requests.total,
            "not all"
        );
        Ok(())
    }
}

// === impl Lane ===

impl Lane {
    fn new(number: usize) -> Self {
        // Every lane of an executor has the same id.
        let executor = uuid::Uuid::from_u128((number / LANES) as u128 + 1).into();
        Self { number, executor, warm: None, running: None }
    }

    fn wanted(&self, now: Micros) -> Wanted {
        let offer = Offer { model: MODEL.into(), context: 0, digest: "sha256:5".into(), pins: true };
        Wanted {
            lease: LeaseId::now(),
            executor: self.executor,
            engine: "ollama-0".into(),
            lane: (self.number % LANES) as i32,
            models: vec![offer],
            kind: 2,
            warm: self.warm,
            now,
            deadline: now + 10 * TICK,
        }
    }

    /// The result of this tick, if one comes.
    fn answer(&mut self, tick: usize) -> Option<NewPiece> {
        let (_, claim, index) =
            self.running.as_mut().filter(|_| (tick + self.number).is_multiple_of(TICKS))?;
        self.warm = Some(Warm { batch: claim.batch, group: claim.group, share: claim.share });
        let usage = v1::Usage { completion_tokens: ANSWER, ..Default::default() };
        let records = vec![Record { index: *index, succeeded: true, usage }];
        let piece = NewPiece { chunk: claim.chunk, offset: 0, bytes: BYTES, records };
        *index += 1;
        if *index == claim.size {
            self.running = None;
        }
        Some(piece)
    }
}

fn row(chunk: &Chunk, number: i32) -> NewChunk {
    NewChunk {
        number,
        group: chunk.group as i32,
        share: chunk.share as i32,
        share_head: chunk.position == 0,
        stealable: chunk.worth_stealing,
        model: MODEL.into(),
        kinds: 2,
        context: chunk.context_needed.0 as i64,
        size: (chunk.end - chunk.start) as i32,
    }
}
