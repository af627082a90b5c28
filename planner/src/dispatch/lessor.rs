use std::{collections::HashSet, sync::Arc, time::Duration};

use caravan_proto::{
    name::LeaseId,
    v1::{self, connect_response::Message},
};
use prost::Message as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{Fleet, Options, fleet::Open};
use crate::{
    clock, metrics, models,
    objects::Objects,
    profiles,
    signals::Signals,
    store::{self, Claim, Offer, Store, Wanted, Warm},
};

/// Answers credits with leases.
pub struct Lessor {
    options: Options,
    store: Arc<dyn Store>,
    objects: Objects,
    fleet: Fleet,
    signals: Signals,
}

/// Lanes of engines with the same models and kind find the same chunks, but for the share that they
/// are warm for.
type Qualification = (Vec<Offer>, i64, Option<Warm>);

// === impl Lessor ===

impl Lessor {
    /// Without a hint, chunks that another replica queued are found after this time.
    const LOOK: Duration = Duration::from_secs(1);

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

    async fn answer_credits(&self) -> Result<(), store::Error> {
        let mut barren: HashSet<Qualification> = HashSet::new();
        let digests = self.fleet.digests();
        for open in self.fleet.open_credits() {
            let wanted = wanted(&open, digests.offers(&open.engine), self.options.deadline());
            let qualification = (wanted.models.clone(), wanted.kind, wanted.warm);
            if barren.contains(&qualification) {
                continue;
            }
            match self.store.claim(&wanted).await? {
                Some(claim) => self.lease(&open, wanted.lease, claim).await?,
                None => drop(barren.insert(qualification)),
            }
        }
        Ok(())
    }

    async fn lease(&self, open: &Open, id: LeaseId, claim: Claim) -> Result<(), store::Error> {
        let span = tracing::info_span!(
            "lease", lease = %id, batch = %claim.batch, chunk = claim.chunk, epoch = claim.epoch,
            executor = %open.executor, engine = open.credit.engine, lane = open.credit.lane
        );
        async {
            // Without its payload a chunk goes to nobody: its lease runs out by itself, and then it is
            // tried again. Queued at once, it would be every lane's next chunk for ever.
            let Some(lease) = self.message(open, id, &claim).await else { return Ok(()) };
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

    async fn message(&self, open: &Open, id: LeaseId, claim: &Claim) -> Option<v1::Lease> {
        let bytes = self.objects.payload(claim.batch, claim.chunk).await;
        let bytes = bytes
            .inspect_err(|error| tracing::error!(error = error as &dyn std::error::Error, "no payload"))
            .ok()?;
        let mut payload = v1::ChunkPayload::decode(bytes)
            .inspect_err(|error| {
                tracing::error!(error = error as &dyn std::error::Error, "payload is damaged")
            })
            .ok()?;
        // Planned for the largest engine; the claim has seen to it that this one is large enough.
        if let Some(limit) = models::largest_context(&open.engine, &payload.model) {
            payload.context = payload.context.min(limit);
        }
        Some(v1::Lease {
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
        })
    }
}

fn wanted(open: &Open, models: Vec<Offer>, deadline: store::Micros) -> Wanted {
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
        now: clock::now(),
        deadline,
    }
}

/// The bit of an engine's kind in `NewChunk::kinds`.
fn kind_bit(kind: v1::engine::Kind) -> i64 {
    1 << (kind as i64)
}
