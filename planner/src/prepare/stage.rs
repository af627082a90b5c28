use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use caravan_plan::{Chunk, Policy, Ratio};
use caravan_proto::{
    error::Reason,
    name::{BatchId, PlanId},
    v1,
};
use futures::future::{join_all, try_join_all};
use tokio::sync::Semaphore;

use super::{
    Error, Options, capacity,
    capacity::Capacity,
    draw::{Draft, Drawn, Facts, Task},
    payload::{self, Frame},
    preview,
    reject::Rejects,
    retry,
};
use crate::{
    clock, dispatch,
    files::Reader,
    intake::Scanned,
    models,
    objects::Objects,
    store::{Batch, File, NewChunk, Planned, Rejected, State, Store},
    vocabularies::Vocabularies,
};

/// Models of one batch whose tokens are counted: each takes 10 to 50 MB while it is planned.
const MOST_COUNTED: usize = 4;
/// Missing models that a plan names.
const NOTES: usize = 10;
/// Chunk rows written in one transaction.
const ROWS: usize = 200;
/// Payloads written at once; each is at most `Limits::max_payload`, or one request if that is longer.
/// A bucket takes some 20 ms for each.
const PAYLOADS: usize = 8;

/// Prepares batches.
pub struct Preparer {
    options: Options,
    lease: dispatch::Options,
    store: Arc<dyn Store>,
    objects: Objects,
    vocabularies: Vocabularies,
    /// Bounds the inputs whose records are in memory.
    slots: Semaphore,
}

// === impl Preparer ===

impl Preparer {
    /// A preparer under these bounds.
    #[must_use]
    pub fn new(
        options: Options,
        lease: dispatch::Options,
        store: Arc<dyn Store>,
        objects: Objects,
        vocabularies: Vocabularies,
    ) -> Self {
        let slots = Semaphore::new(options.concurrency.max(1));
        Self { options, lease, store, objects, vocabularies, slots }
    }

    /// Whether a batch that comes now need not wait for others. Until then its step stays free for another replica.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.slots.available_permits() > 0
    }

    /// Takes a batch from validating or planning to queued, or to failed.
    ///
    /// # Errors
    /// If store or objects fail; the batch stays where it is and can be prepared again.
    #[tracing::instrument(skip_all, fields(batch = %batch.id))]
    pub async fn prepare(&self, batch: &Batch) -> Result<(), Error> {
        let _slot = self.slots.acquire().await.map_err(|_| Error::Stopped)?;
        let Some(file) = self.input(batch).await? else {
            return self.reject_whole(batch.id, "INPUT_DELETED", "the input was deleted").await;
        };
        if batch.retry.is_some() && file.size == 0 {
            let message = "the batch to retry has no request that was asked for";
            return self.reject_whole(batch.id, Reason::NothingToRetry.as_str(), message).await;
        }
        let mut rejects = Rejects::of(&self.objects, batch.id);
        match self.attempt(batch, &file, &mut rejects).await {
            Err(error) if error.is_final() => {
                tracing::error!(error = &error as &dyn std::error::Error, "the batch cannot be planned");
                self.store.reset_plan(batch.id, PlanId::now()).await?;
                let message = error.to_string();
                self.reject(batch.id, &mut rejects, 0, "PLANNING_FAILED", &message).await
            }
            done => done,
        }
    }

    /// The input, which of a retry is written first. None if it was deleted.
    async fn input(&self, batch: &Batch) -> Result<Option<File>, Error> {
        let file = self.store.file(batch.input).await?;
        match (file, batch.retry) {
            (Some(file), Some(retry)) => retry::input(&self.store, &self.objects, retry, file).await,
            (file, _) => Ok(file),
        }
    }

    async fn reject_whole(&self, id: BatchId, reason: &str, message: &str) -> Result<(), Error> {
        self.reject(id, &mut Rejects::counted(), 0, reason, message).await
    }

    async fn attempt(&self, batch: &Batch, file: &File, rejects: &mut Rejects) -> Result<(), Error> {
        let spec = v1::Batch { defaults: self.store.defaults(batch.id).await?, ..batch.spec.clone() };
        match self.draw(&spec, file, rejects).await? {
            Draft::Fatal { total, error } => {
                let reason = error.code.as_str().to_uppercase();
                let message = error.message.clone();
                rejects.line(vec![error]).await?;
                self.reject(batch.id, rejects, total, &reason, &message).await
            }
            Draft::Invalid { total } => {
                let message = format!("invalid lines: {} of {total}; nothing was run", rejects.lines);
                self.reject(batch.id, rejects, total, "INVALID_LINES", &message).await
            }
            Draft::Drawn(drawn) => self.keep(batch.id, &drawn, rejects).await,
        }
    }

    /// The batch as it would be, without its defaults and without creating it.
    ///
    /// # Errors
    /// If store or objects fail.
    pub async fn preview(&self, spec: &v1::Batch, file: &File) -> Result<v1::Batch, Error> {
        let _slot = self.slots.acquire().await.map_err(|_| Error::Stopped)?;
        let mut rejects = Rejects::counted();
        let draft = self.draw(spec, file, &mut rejects).await?;
        Ok(preview::batch(spec, draft, rejects))
    }

    /// Whether an engine has come for a batch that was planned without one.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn capacity(&self) -> Result<Capacity, Error> {
        let ttl = clock::span(self.lease.ttl());
        let since = self.store.now().await?.saturating_sub(ttl);
        let executors = self.store.executors(since).await?;
        Ok(Capacity::of(executors, self.store.profiles().await?))
    }

    async fn draw(&self, spec: &v1::Batch, file: &File, rejects: &mut Rejects) -> Result<Draft, Error> {
        let capacity = self.capacity().await?;
        let input = Reader::new(self.objects.clone(), file);
        let model = Some(spec.model.as_str()).filter(|model| !model.is_empty());
        let task = Task { options: &self.options, spec, input, kinds: capacity.kinds(model) };
        let draft = task.draw(rejects, async |models| self.know(&capacity, models).await).await?;
        Ok(match draft {
            Draft::Drawn(mut drawn) => {
                drawn.notes.extend(missing(&drawn.scanned, &capacity));
                drawn.engines = capacity.qualified(&drawn.scanned.models);
                Draft::Drawn(drawn)
            }
            other => other,
        })
    }

    async fn know(&self, capacity: &Capacity, models: &[String]) -> Result<Vec<Facts>, Error> {
        // Side by side: all of them together wait for vocabularies as long as one does.
        let served = models.iter().filter(|model| capacity.serves(model)).take(MOST_COUNTED);
        let served: Vec<&String> = served.collect();
        let known = served.iter().map(|model| self.vocabularies.of(capacity.engines(), model));
        let known: Vec<_> = join_all(known).await;
        let mut known: HashMap<&String, _> = served.into_iter().zip(known).collect();
        let mut facts = Vec::with_capacity(models.len());
        for model in models {
            let mut of_model = capacity.facts(model, &self.options);
            if capacity.serves(model) {
                of_model.fleet.answer_share = self.share(model, true).await?;
                of_model.fleet.reserve_share = self.share(model, false).await?;
                let estimated =
                    |why: String| Some(format!("The tokens of model {model} are estimated: {why}."));
                of_model.notes.extend(match known.remove(model) {
                    Some(Ok(known)) => of_model.counter.know(model, known),
                    Some(Err(why)) => estimated(why.to_string()),
                    None => {
                        estimated(format!("only those of {MOST_COUNTED} models are counted in one batch"))
                    }
                });
            }
            facts.push(of_model);
        }
        Ok(facts)
    }

    /// Part of what requests allowed that answers took, if that was learned.
    async fn share(&self, model: &str, stated: bool) -> Result<Option<Ratio>, Error> {
        Ok(self.store.answers(model, stated).await?.and_then(|answers| answers.share()))
    }

    async fn keep(&self, id: BatchId, drawn: &Drawn, rejects: &mut Rejects) -> Result<(), Error> {
        let from = [State::Validating, State::Planning];
        if !self.store.advance(id, &from, State::Planning, self.store.now().await?).await? {
            return Ok(());
        }
        // A plan that runs is never written again.
        let plan = PlanId::now();
        if !self.store.reset_plan(id, plan).await? {
            return Ok(());
        }
        self.write_chunks(id, plan, drawn).await?;
        let planned = Planned {
            id: plan,
            total: signed(drawn.scanned.total),
            chunks: signed(drawn.plan.chunks.len() as u64),
            plan: preview::plan(drawn, rejects.lines),
            provisional: drawn.fleets.iter().all(|fleet| !fleet.lanes_known),
            rejected: rejects.segment().await?,
            line_errors: std::mem::take(&mut rejects.shown),
            line_error_count: signed(rejects.errors),
        };
        let (chunks, provisional) = (planned.chunks, planned.provisional);
        if self.store.activate(id, &planned, self.store.now().await?).await? {
            tracing::info!(chunks, provisional, requests = drawn.scanned.total, "planned");
        }
        Ok(())
    }

    async fn write_chunks(&self, id: BatchId, plan: PlanId, drawn: &Drawn) -> Result<(), Error> {
        let frame = Frame {
            scanned: &drawn.scanned,
            heads: &drawn.heads,
            groups: &drawn.groups,
            defaults: drawn.defaults.as_deref(),
            plan: &drawn.plan,
            strategy: preview::strategy(drawn.policy.strategy),
            answer_tokens: answer_tokens(&drawn.policy),
        };
        let mut rows = Vec::with_capacity(ROWS);
        let mut number = 0;
        for some in drawn.plan.chunks.chunks(PAYLOADS) {
            let mut writing = Vec::with_capacity(PAYLOADS);
            for chunk in some {
                writing.push(self.write_chunk((id, plan), &frame, &drawn.input, number, chunk));
                number += 1;
            }
            rows.extend(try_join_all(writing).await?);
            if rows.len() >= ROWS {
                self.store.add_chunks(id, plan, &rows).await?;
                rows.clear();
            }
        }
        Ok(self.store.add_chunks(id, plan, &rows).await?)
    }

    async fn write_chunk(
        &self,
        (id, plan): (BatchId, PlanId),
        frame: &Frame<'_>,
        input: &Reader,
        number: i32,
        chunk: &Chunk,
    ) -> Result<NewChunk, Error> {
        let bytes = payload::payload(frame, input, chunk).await?;
        self.objects.put_payload(id, plan, number, bytes).await?;
        Ok(row(frame, number, chunk))
    }

    async fn reject(
        &self,
        id: BatchId,
        rejects: &mut Rejects,
        total: u64,
        reason: &str,
        message: &str,
    ) -> Result<(), Error> {
        let error_file = rejects.error_file(&self.store).await?.error;
        let rejected = Rejected {
            total: signed(total),
            failed: signed(rejects.lines),
            reason: reason.to_owned(),
            message: message.to_owned(),
            line_errors: std::mem::take(&mut rejects.shown),
            line_error_count: signed(rejects.errors),
            error_file,
        };
        if self.store.reject(id, &rejected, self.store.now().await?).await? {
            tracing::info!(reason, lines = rejects.lines, "rejected");
        }
        Ok(())
    }
}

fn row(frame: &Frame<'_>, number: i32, chunk: &Chunk) -> NewChunk {
    let class = frame.groups.get(chunk.group as usize).map(|group| group.class);
    let model = class.and_then(|class| frame.scanned.models.get(class.model as usize));
    NewChunk {
        number,
        group: i32::try_from(chunk.group).unwrap_or(i32::MAX),
        share: i32::try_from(chunk.share).unwrap_or(i32::MAX),
        share_head: chunk.position == 0,
        stealable: chunk.worth_stealing,
        model: model.map(|model| models::bare(model).to_owned()).unwrap_or_default(),
        kinds: class.map_or(0, |class| capacity::kind_bits(class.kinds)),
        context: signed(chunk.context_needed.0),
        size: i32::try_from(chunk.requests()).unwrap_or(i32::MAX),
    }
}

/// What an answer may take where the request does not say: under a conversation its budget, else
/// whatever the context leaves.
fn answer_tokens(policy: &Policy) -> i64 {
    let stated = policy.stated;
    match (policy.strategy, stated.exchange, stated.user) {
        (caravan_plan::Strategy::Independent, ..) => 0,
        (_, Some(exchange), Some(user)) if exchange > user => signed(exchange.0 - user.0),
        _ => signed(policy.limits.reserved_answer_tokens.0),
    }
}

fn missing(scanned: &Scanned, capacity: &Capacity) -> Vec<String> {
    let models: BTreeSet<&String> = scanned.models.iter().filter(|model| !capacity.serves(model)).collect();
    let more = models.len().saturating_sub(NOTES);
    let named = models.into_iter().take(NOTES).map(|model| format!("No engine has the model {model} now."));
    let rest = (more > 0).then(|| format!("No engine has {more} further models now."));
    named.chain(rest).collect()
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
