use std::{collections::HashSet, sync::Arc, time::Duration};

use caravan_proto::{
    name::LeaseId,
    v1::{self, connect_response::Message},
};
use futures::future::join_all;
use prost::Message as _;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{Fleet, Options, fleet::Open};
use crate::{
    metrics, models,
    objects::{self, Fault, Objects},
    profiles,
    signals::Signals,
    store::{self, Claim, Offer, Qualification, Store, Wanted, Warm},
};

/// Answers credits with leases.
pub struct Lessor {
    options: Options,
    store: Arc<dyn Store>,
    objects: Objects,
    fleet: Fleet,
    signals: Signals,
}

// === impl Lessor ===

impl Lessor {
    /// Without a hint, chunks that another replica queued are found after this time.
    const LOOK: Duration = Duration::from_secs(1);
    /// Credits that one transaction answers. It holds their chunks together for some milliseconds.
    const AT_ONCE: usize = 32;

    /// A lessor for the executors in `fleet`.
    #[must_use]
    pub fn new(
        options: Options,
        store: Arc<dyn Store>,
        objects: Objects,
        fleet: Fleet,
        signals: Signals,
    ) -> Self {
        Self { options, store, objects, fleet, signals }
    }

    /// Leases until stopped.
    pub async fn run(self, stop: CancellationToken) {
        let mut read = None::<Instant>;
        while !stop.is_cancelled() {
            if read.is_none_or(|at| at.elapsed() >= Self::LOOK) {
                // What was read before still holds if they cannot be read now.
                if let Ok(found) = self.store.profiles().await {
                    self.fleet.learn(found.into_iter().map(profiles::view).collect());
                    read = Some(Instant::now());
                }
            }
            if let Err(error) = self.answer_credits().await {
                tracing::error!(error = &error as &dyn std::error::Error, "chunks cannot be claimed");
            }
            tokio::select! {
                () = self.signals.until_work(Self::LOOK) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Leases go out while the next ones are claimed. Memory: what is wanted for each open credit, and `AT_ONCE`
    /// payloads.
    async fn answer_credits(&self) -> Result<(), store::Error> {
        let digests = self.fleet.digests();
        let mut open = self.fleet.open_credits();
        // Lanes at a share first, as within a claim: others would take what they come for.
        open.sort_by_key(|open| open.credit.warm_batch.is_empty());
        let wanted: Vec<_> = open.iter().map(|open| wanted(open, digests.offers(&open.engine))).collect();
        let mut barren: HashSet<Qualification<'_>> = HashSet::new();
        let mut credits = open.iter().zip(&wanted).peekable();
        let (mut leases, mut failed) = (Vec::new(), Ok(()));
        while credits.peek().is_some() {
            let fertile = credits.by_ref().filter(|(_, wanted)| !barren.contains(&wanted.qualification()));
            let asking: Vec<_> = fertile.take(Self::AT_ONCE).collect();
            if asking.is_empty() {
                break;
            }
            let claiming = self.claim(asking.iter().map(|(_, wanted)| *wanted));
            let (claims, sent) = tokio::join!(claiming, all(leases));
            // What was claimed meanwhile is leased: it has to be sent whatever became of those before it.
            failed = failed.and(sent);
            leases = Vec::new();
            for ((open, wanted), claim) in asking.into_iter().zip(claims?) {
                match claim {
                    Some(claim) => leases.push(self.lease(open, wanted.lease, claim)),
                    None => drop(barren.insert(wanted.qualification())),
                }
            }
        }
        failed.and(all(leases).await)
    }

    async fn claim(&self, wanted: impl Iterator<Item = &Wanted>) -> Result<Vec<Option<Claim>>, store::Error> {
        let now = self.store.now().await?;
        let timed = |wanted: &Wanted| Wanted { now, deadline: self.options.deadline(now), ..wanted.clone() };
        self.store.claim(&wanted.map(timed).collect::<Vec<_>>()).await
    }

    async fn lease(&self, open: &Open, id: LeaseId, claim: Claim) -> Result<(), store::Error> {
        let span = tracing::info_span!(
            "lease", lease = %id, batch = %claim.batch, chunk = claim.chunk, epoch = claim.epoch,
            executor = %open.executor, engine = open.credit.engine, lane = open.credit.lane
        );
        async {
            // Without its payload a chunk goes to nobody: its lease runs out by itself, and then it is
            // tried again. Queued at once, it would be every lane's next chunk for ever.
            // One that came late might be another's by then, and two lanes would run the chunk.
            let message = timeout(self.options.ttl() / 2, self.message(open, id, &claim)).await;
            let Ok(message) = message else {
                tracing::warn!("the payload did not come in time");
                return Ok(());
            };
            let Some(lease) = message? else { return Ok(()) };
            self.fleet.given(open.executor, id, claim.batch);
            if self.fleet.take(open) && open.outgoing.send(Message::Lease(lease)).await {
                metrics::leased();
                tracing::debug!("leased");
                self.signals.batch_changed();
            } else {
                self.store.hand_back(open.executor, id, claim.epoch).await?;
            }
            Ok(())
        }
        .instrument(span)
        .await
    }

    async fn message(
        &self,
        open: &Open,
        id: LeaseId,
        claim: &Claim,
    ) -> Result<Option<v1::Lease>, store::Error> {
        let Some(mut payload) = self.payload(claim).await? else { return Ok(None) };
        // Planned for the largest engine; the claim has seen to it that this one is large enough.
        if let Some(limit) = models::largest_context(&open.engine, &payload.model) {
            payload.context = payload.context.min(limit);
        }
        Ok(Some(v1::Lease {
            lease_id: id.to_string(),
            epoch: claim.epoch,
            batch: claim.batch.name(),
            chunk: claim.chunk,
            group: claim.group,
            share: claim.share,
            engine: open.credit.engine.clone(),
            lane: open.credit.lane,
            range_start: 0,
            range_end: claim.size,
            done: claim.done.clone(),
            payload: Some(payload),
            model_digest: Some(claim.digest.clone()),
        }))
    }

    /// What is to be sent; without it the batch is told why.
    async fn payload(&self, claim: &Claim) -> Result<Option<v1::ChunkPayload>, store::Error> {
        let read = self.objects.payload(claim.batch, claim.plan, claim.chunk).await;
        let payload = read.and_then(|bytes| {
            Ok(v1::ChunkPayload::decode(bytes).map_err(|error| {
                let object = format!("chunk {} of {}", claim.chunk, claim.batch);
                Fault::Damaged { object, what: error.to_string() }
            })?)
        });
        match payload {
            Ok(payload) => Ok(Some(payload)),
            Err(objects::Error(fault)) => {
                tracing::error!(error = &fault as &dyn std::error::Error, "no payload");
                if let Some(reason) = fault.reason() {
                    self.store
                        .explain(claim.batch, &[store::State::Running], reason.as_str(), &fault.advice())
                        .await?;
                }
                Ok(None)
            }
        }
    }
}

/// Sends every lease, also if one before it cannot be sent; gives the first error.
async fn all(leases: Vec<impl Future<Output = Result<(), store::Error>>>) -> Result<(), store::Error> {
    join_all(leases).await.into_iter().collect()
}

/// What a lane wants, but for the time.
fn wanted(open: &Open, models: Vec<Offer>) -> Wanted {
    let credit = &open.credit;
    let warm = credit.warm_batch.parse().ok();
    Wanted {
        lease: LeaseId::now(),
        executor: open.executor,
        engine: credit.engine.clone(),
        lane: credit.lane,
        models,
        kind: kind_bit(open.engine.kind()),
        warm: warm.map(|batch| Warm { batch, group: credit.warm_group, share: credit.warm_share }),
        now: 0,
        deadline: 0,
    }
}

/// The bit of an engine's kind in `NewChunk::kinds`.
fn kind_bit(kind: v1::engine::Kind) -> i64 {
    1 << (kind as i64)
}
