use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use caravan_proto::{
    name::{BatchId, SegmentId},
    v1::{self, connect_response::Message},
};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    time::{Instant, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

use super::{Error, segment::segment};
use crate::{
    dispatch::Outgoing,
    metrics,
    objects::{Fault, Objects, REGISTER_WITHIN},
    signals::Signals,
    store::{NewSegment, Store},
};

/// When the results of a batch are committed.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Oldest uncommitted result, in milliseconds. Default 1000: what a crash of planner and executor
    /// together may repeat, against rows that grow by one a tick.
    pub tick_ms: u64,
    /// Uncommitted bytes of a batch. Default 4 MiB.
    pub bytes: usize,
    /// Uncommitted results of a batch. Default 2048: keeps fast engines from waiting for acks.
    pub results: usize,
    /// Bytes of results of one executor that wait while nothing can be committed; then no more is read from
    /// it. Default 4 MiB: executors start no further request while two results a lane wait, so that
    /// is seldom reached, and bounds the memory of a replica during an outage.
    pub waiting: usize,
}

/// Results of one executor for one batch, and where to say that they are safe.
#[derive(Debug)]
pub struct Arrival {
    /// The results, all of one batch.
    pub results: Vec<v1::RequestResult>,
    /// The executor's session.
    pub acks: Outgoing,
}

/// Gathers the results of all lanes of a batch and commits them together: the segment first,
/// then one transaction, then the acks. Memory a batch: `Options::bytes`, twice.
pub struct Gatherer {
    options: Options,
    store: Arc<dyn Store>,
    objects: Objects,
    signals: Signals,
    batches: Mutex<HashMap<BatchId, mpsc::Sender<Work>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// What a batch's task is sent.
#[derive(Debug)]
enum Work {
    Arrival(Arrival),
    /// Commit what came before, then say so.
    Flush(oneshot::Sender<()>),
}

struct Batch {
    id: BatchId,
    options: Options,
    store: Arc<dyn Store>,
    objects: Objects,
    signals: Signals,
    pending: Vec<Arrival>,
    bytes: usize,
    results: usize,
    /// Who waits for the commit of what is pending.
    flushes: Vec<oneshot::Sender<()>>,
    /// Requests that were not final at the last commit: when so many are pending, nothing is waited for.
    open: i64,
}

/// Whoever runs the planner hears of a full store once, and not with every attempt.
fn tell(error: &Error) {
    let error: &(dyn std::error::Error + 'static) = error;
    match Fault::behind(error) {
        Some(Fault::Full(_) | Fault::Denied(_)) => {
            tracing::debug!(error, "results are not committed; trying again");
        }
        _ => tracing::error!(error, "results are not committed; trying again"),
    }
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self { tick_ms: 1000, bytes: 4 << 20, results: 2048, waiting: 4 << 20 }
    }
}

// === impl Gatherer ===

impl Gatherer {
    /// A gatherer that commits to `store`.
    #[must_use]
    pub fn new(options: Options, store: Arc<dyn Store>, objects: Objects, signals: Signals) -> Self {
        let (batches, tasks, stop) = (Mutex::default(), TaskTracker::new(), CancellationToken::new());
        Self { options, store, objects, signals, batches, tasks, stop }
    }

    /// Bytes of one executor that may wait to be taken.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.options.waiting
    }

    /// Takes results; waits while the batch's are being committed and its buffer is full.
    pub async fn take(&self, batch: BatchId, arrival: Arrival) {
        let sender = {
            let mut batches = self.batches.lock().await;
            if !batches.contains_key(&batch) {
                batches.retain(|_, idle| !idle.is_closed());
            }
            batches.entry(batch).or_insert_with(|| self.start(batch)).clone()
        };
        if let Err(mpsc::error::SendError(arrival)) = sender.send(Work::Arrival(arrival)).await {
            // Its task went idle in this moment: the results start a new one.
            let fresh = self.start(batch);
            self.batches.lock().await.insert(batch, fresh.clone());
            // A task that has just begun takes what it is sent, unless all stop: then they come again.
            let _stopping = fresh.send(arrival).await;
        }
    }

    /// Waits until everything taken so far is final, so that a chunk that is handed back is not leased
    /// with requests that are answered already.
    pub async fn flush(&self) {
        let batches: Vec<_> = self.batches.lock().await.values().cloned().collect();
        for batch in batches {
            let (done, flushed) = oneshot::channel();
            if batch.send(Work::Flush(done)).await.is_ok() {
                // An error means that its task has ended, with nothing pending or stopped.
                let _ended = flushed.await;
            }
        }
    }

    /// Commits what is pending and ends.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.batches.lock().await.clear();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn start(&self, id: BatchId) -> mpsc::Sender<Work> {
        let (sender, arrivals) = mpsc::channel(8);
        let batch = Batch {
            id,
            options: self.options,
            store: Arc::clone(&self.store),
            objects: self.objects.clone(),
            signals: self.signals.clone(),
            pending: Vec::new(),
            bytes: 0,
            results: 0,
            flushes: Vec::new(),
            open: 0,
        };
        let span = tracing::info_span!("gather", batch = %id);
        self.tasks.spawn(batch.run(arrivals, self.stop.clone()).instrument(span));
        sender
    }
}

// === impl Batch ===

impl Batch {
    /// A batch without results for so long needs no task.
    const IDLE: Duration = Duration::from_secs(60);

    async fn run(mut self, mut arrivals: mpsc::Receiver<Work>, stop: CancellationToken) {
        loop {
            let idle = Instant::now() + Self::IDLE;
            let first = tokio::select! {
                arrival = arrivals.recv() => arrival,
                () = sleep_until(idle) => { arrivals.close(); arrivals.recv().await }
            };
            let Some(first) = first else { return };
            let due = Instant::now() + Duration::from_millis(self.options.tick_ms);
            self.add(first);
            self.learn_open().await;
            while !self.is_full() {
                tokio::select! {
                    next = arrivals.recv() => match next { Some(next) => self.add(next), None => break },
                    () = sleep_until(due) => break,
                    () = stop.cancelled() => break,
                }
            }
            if self.results > 0 && !self.commit_until_done(&stop).await {
                return;
            }
            for flush in self.flushes.drain(..) {
                let _nobody_waits = flush.send(());
            }
        }
    }

    fn add(&mut self, work: Work) {
        let arrival = match work {
            Work::Arrival(arrival) => arrival,
            Work::Flush(done) => return self.flushes.push(done),
        };
        self.results += arrival.results.len();
        self.bytes += arrival.results.iter().map(prost::Message::encoded_len).sum::<usize>();
        self.pending.push(arrival);
    }

    fn is_full(&self) -> bool {
        let all = i64::try_from(self.results).is_ok_and(|results| self.open > 0 && results >= self.open);
        let large = self.bytes >= self.options.bytes || self.results >= self.options.results;
        large || all || !self.flushes.is_empty()
    }

    async fn learn_open(&mut self) {
        if let Ok(Some(batch)) = self.store.batch(self.id).await {
            self.open = batch.requests.total - batch.requests.succeeded - batch.requests.failed;
        }
    }

    /// False if it was stopped before the store took the results: they are not acked, so they come again.
    async fn commit_until_done(&mut self, stop: &CancellationToken) -> bool {
        let results = self.pending.iter().flat_map(|arrival| &arrival.results).collect();
        let (bytes, mut segment) = segment(self.id, results);
        let (mut pause, mut named) = (Duration::from_millis(100), Instant::now());
        loop {
            // However often it takes: the bits decide what counts.
            match self.commit(&bytes, &segment).await {
                Ok(()) => break,
                Err(error) => tell(&error),
            }
            if named.elapsed() > REGISTER_WITHIN {
                // What has no row for so long may be taken for garbage any moment.
                (segment.id, named) = (SegmentId::now(), Instant::now());
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(5)),
                () = stop.cancelled() => return false,
            }
        }
        self.ack().await;
        true
    }

    async fn commit(&self, bytes: &Bytes, segment: &NewSegment) -> Result<(), Error> {
        self.objects.put_segment(self.id, segment.id, bytes.clone()).await?;
        let commit = self.store.commit(self.id, segment, self.store.now().await?).await?;
        metrics::committed(commit.accepted, bytes.len() as u64);
        tracing::debug!(
            number = commit.number,
            accepted = commit.accepted,
            results = self.results,
            "committed"
        );
        self.signals.batch_changed();
        if commit.batch_done || !commit.chunks_done.is_empty() {
            self.signals.upkeep();
        }
        Ok(())
    }

    async fn ack(&mut self) {
        let mut sessions: Vec<(Outgoing, HashMap<i32, Vec<i32>>)> = Vec::new();
        for arrival in self.pending.drain(..) {
            let known = sessions.iter().position(|(session, _)| session.is(&arrival.acks));
            let index = known.unwrap_or(sessions.len());
            if known.is_none() {
                sessions.push((arrival.acks, HashMap::new()));
            }
            for result in &arrival.results {
                sessions[index].1.entry(result.chunk).or_default().push(result.index);
            }
        }
        let batch = self.id.name();
        let acks = sessions.into_iter().map(|(session, chunks)| {
            let ack = |(chunk, indexes)| v1::ChunkAck { batch: batch.clone(), chunk, indexes };
            let chunks = chunks.into_iter().map(ack).collect();
            // A session that is gone sends the results again; they are final by then and acked at once.
            async move { session.send(Message::Ack(v1::Ack { chunks })).await }
        });
        futures::future::join_all(acks).await;
        (self.bytes, self.results) = (0, 0);
    }
}
