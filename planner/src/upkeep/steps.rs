use std::sync::Arc;

use caravan_proto::{
    name::{BatchId, PlanId},
    v1,
};

use crate::{
    dispatch::Fleet,
    metrics,
    objects::Objects,
    prepare::{self, Capacity, Preparer},
    results,
    signals::Signals,
    store::{self, Answers, OpenBatch, State, Store},
};

/// Why a batch waits: engines with its model answer, and none of them can be used.
const ENGINE_UNFIT: &str = "ENGINE_UNFIT";
/// No engine has the digest any more that the batch is held to.
const MODEL_CHANGED: &str = "MODEL_CHANGED";
/// Chunk rows read at a time.
const PAGE_ROWS: i64 = 500;

/// What the fleet can do, read once a round, if any batch waits.
pub(super) type Seen = tokio::sync::OnceCell<Capacity>;

/// The steps that a batch takes by itself.
#[derive(Clone)]
pub(super) struct Steps {
    pub(super) store: Arc<dyn Store>,
    pub(super) objects: Objects,
    pub(super) preparer: Arc<Preparer>,
    pub(super) fleet: Fleet,
    pub(super) signals: Signals,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Prepare(#[from] prepare::Error),
    #[error(transparent)]
    Results(#[from] results::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
}

// === impl Steps ===

impl Steps {
    /// Takes the step that is due in the batch's state now.
    pub(super) async fn take(&self, id: BatchId) -> Result<(), Error> {
        let Some(batch) = self.store.batch(id).await? else { return Ok(()) };
        match batch.state {
            State::Validating | State::Planning => Ok(self.preparer.prepare(&batch).await?),
            State::Finalizing if batch.expired => {
                let message = "the batch's completion window ended before this request was answered";
                self.close(batch.id, prepare::EXPIRED, message).await
            }
            State::Finalizing => self.finish(batch.id).await,
            State::Cancelling => {
                let message = "the batch was cancelled before this request was answered";
                self.close(batch.id, prepare::CANCELLED, message).await
            }
            _ => Ok(()),
        }
    }

    /// Ends a batch with an error for every request that is open.
    async fn close(&self, id: BatchId, code: &str, message: &str) -> Result<(), Error> {
        let error = v1::RequestError { code: code.to_owned(), message: message.to_owned() };
        results::close(&*self.store, &self.objects, id, &error).await?;
        self.finish(id).await
    }

    async fn finish(&self, id: BatchId) -> Result<(), Error> {
        self.compact_all(id).await?;
        let outputs = results::write_outputs(&self.store, &self.objects, id).await?;
        if self.store.finish(id, &outputs, self.store.now().await?).await? {
            tracing::info!("batch ended");
            if let Some(batch) = self.store.batch(id).await? {
                metrics::ended(batch.state);
                self.learn(batch).await?;
            }
        }
        Ok(())
    }

    /// Holds the plan against what happened, and remembers how long answers were.
    async fn learn(&self, batch: store::Batch) -> Result<(), store::Error> {
        if let Some(report) = results::report(&batch) {
            metrics::predicted(&report);
        }
        match lesson(&batch) {
            Some((model, stated, answers)) => self.store.learn_answers(&model, stated, answers).await,
            None => Ok(()),
        }
    }

    async fn compact_all(&self, id: BatchId) -> Result<(), Error> {
        let mut next = 0;
        loop {
            let chunks = self.store.chunks(id, next, PAGE_ROWS).await?;
            let Some(last) = chunks.last() else { return Ok(()) };
            next = last.number + 1;
            for chunk in chunks.iter().filter(|chunk| chunk.compacted.is_none()) {
                results::compact(&*self.store, &self.objects, id, chunk).await?;
            }
        }
    }

    async fn capacity<'s>(&self, seen: &'s Seen) -> Result<&'s Capacity, prepare::Error> {
        seen.get_or_try_init(|| self.preparer.capacity()).await
    }

    /// Says of a queued batch why it waits. One that was planned without engines is planned anew
    /// once there are some, as long as nothing of it was leased.
    pub(super) async fn look_for_engines(&self, batch: OpenBatch, seen: &Seen) -> Result<(), store::Error> {
        let Some(row) = self.store.batch(batch.id).await? else { return Ok(()) };
        let Ok(capacity) = self.capacity(seen).await else { return Ok(()) };
        let missing = models(&row).find(|model| !capacity.serves(model));
        let any = models(&row).any(|model| capacity.serves(model));
        if batch.provisional && any {
            // What the provisional plan left must not stand while there is no other.
            self.store.reset_plan(batch.id, PlanId::now()).await?;
            self.signals.upkeep();
            return Ok(());
        }
        let (reason, message) = match (missing, too_long(&row, capacity)) {
            (Some(model), _) => match capacity.unfit(model) {
                Some(why) => (ENGINE_UNFIT, why),
                None => (
                    "NO_ENGINE_FOR_MODEL",
                    format!("no engine has the model {model}; the batch waits for one"),
                ),
            },
            (None, Some(message)) => ("NO_ENGINE_QUALIFIES", message),
            (None, None) => ("WAITING_FOR_LANE", "no lane has asked for work of it yet".to_owned()),
        };
        self.store.explain(batch.id, &[State::Queued], reason, &message).await
    }

    /// Says of a running batch that stands still why, if that is because its model is another now or
    /// because the engines that could go on with it cannot be used.
    pub(super) async fn look_at_running(&self, batch: OpenBatch, seen: &Seen) -> Result<(), store::Error> {
        let Some(row) = self.store.batch(batch.id).await? else { return Ok(()) };
        if self.look_at_storage(&row).await? {
            return Ok(());
        }
        let (reason, message) = match self.stands_still(&row, seen).await? {
            Some(why) => why,
            None if [MODEL_CHANGED, ENGINE_UNFIT].contains(&&*row.reason) => ("", String::new()),
            None => return Ok(()),
        };
        self.store.explain(batch.id, &[State::Running], reason, &message).await
    }

    /// Why a running batch that no lane is at stands still, if that is known.
    async fn stands_still(
        &self,
        batch: &store::Batch,
        seen: &Seen,
    ) -> Result<Option<(&'static str, String)>, store::Error> {
        if batch.chunks.running > 0 {
            return Ok(None);
        }
        let Ok(capacity) = self.capacity(seen).await else { return Ok(None) };
        if let Some(message) = capacity.changed(&self.store.waiting_pins(batch.id).await?) {
            return Ok(Some((MODEL_CHANGED, message)));
        }
        Ok(unfit(batch, capacity).map(|message| (ENGINE_UNFIT, message)))
    }
}

/// The model of each group of the plan.
fn models(batch: &store::Batch) -> impl Iterator<Item = &String> {
    batch.plan.iter().flat_map(|plan| &plan.groups).map(|group| &group.model)
}

/// The answer tokens that a batch of one model allowed, whether its requests stated them, and those
/// that came. `None` where some requests have no answer, some stated nothing while others did, or
/// the plan does not show that they are all of one model.
fn lesson(batch: &store::Batch) -> Option<(String, bool, Answers)> {
    let plan = batch.plan.as_ref().filter(|plan| plan.allowed_answer_tokens > 0)?;
    let given = batch.usage.completion_tokens;
    let complete = batch.state == State::Completed && batch.requests.succeeded == plan.requests;
    let first = &plan.groups.first()?.model;
    let all_shown = i64::try_from(plan.groups.len()) == Ok(plan.group_count);
    let one = !batch.spec.model.is_empty() || (all_shown && plan.groups.iter().all(|g| g.model == *first));
    let reserved = plan.requests.saturating_mul(plan.reserved_answer_tokens);
    let stated = plan.unstated_requests == 0;
    let alike = stated || plan.unstated_requests == plan.requests;
    let answers = Answers { allowed: if stated { plan.allowed_answer_tokens } else { reserved }, given };
    (complete && one && alike && given > 0).then(|| (first.clone(), stated, answers))
}

/// Says so if an engine has a model of the batch, cannot be used, and no other has any.
fn unfit(batch: &store::Batch, capacity: &Capacity) -> Option<String> {
    let any = models(batch).any(|model| capacity.serves(model));
    if any { None } else { models(batch).find_map(|model| capacity.unfit(model)) }
}

/// Says so if no engine has the context that the batch's longest chunk needs.
fn too_long(batch: &store::Batch, capacity: &Capacity) -> Option<String> {
    let plan = batch.plan.as_ref()?;
    let context = plan.groups.iter().filter_map(|group| capacity.context(&group.model)).max()?;
    (plan.largest_context > context).then(|| {
        let needed = plan.largest_context;
        format!(
            "a chunk needs a context of {needed} tokens, and the largest that an engine gives is {context}"
        )
    })
}
