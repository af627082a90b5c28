//! How many requests an engine runs in parallel. llama-server tells; Ollama does not, so it is tried.

use futures::future::join_all;
use tokio::time::Instant;

use super::{
    Unit,
    ask::counting,
    lanes::Use,
    learn::SLOTS,
    overlap::{self, OnSlot},
};
use crate::{
    engine::{Failure, ReloadSet},
    gate::Pass,
    ledger::Ledger,
    options::Slots,
};

/// Tokens of an answer that is tried with: long enough to see whether two overlap, short enough that all
/// of them together take less than the load before.
const TRIED_TOKENS: u64 = 16;

// === impl Unit ===

impl Unit {
    /// Drives the engine with as many lanes as it has slots for what `pass` lets in to. Finds that out
    /// if need be, alone on the engine.
    pub(crate) async fn suit(&self, ledger: &Ledger, pass: &Pass<'_>) -> Result<(), Failure> {
        self.forget_before_load();
        let wanted = Use::of(pass);
        let slots = match self.lanes.found(&wanted) {
            Some(slots) => slots,
            None => {
                let _alone = self.gate.alone(pass).await?;
                match self.lanes.found(&wanted) {
                    Some(slots) => slots,
                    None => self.find_slots(pass).await?,
                }
            }
        };
        self.drive_with(ledger, wanted, slots);
        Ok(())
    }

    /// So many lanes take work from now on.
    pub(super) fn drive_with(&self, ledger: &Ledger, wanted: Use, slots: u32) {
        let before = self.lanes.now();
        let lanes = self.lanes.set(wanted, slots);
        if lanes != before {
            self.lock_concurrency().restart();
            ledger.set_lanes(&self.id, lanes);
        }
        if lanes > before {
            self.notes.clear(SLOTS);
        }
    }

    async fn find_slots(&self, pass: &Pass<'_>) -> Result<u32, Failure> {
        let started_with = self.managed.as_ref().map(|managed| managed.launch().slots);
        let told = self.engine.slots(&pass.model).await.or(started_with);
        let told = told.or(self.health.said(|said| said.slots));
        let slots = match (self.lanes.configured(), told) {
            (Slots::Fixed(slots), told) => {
                let slots = slots.get();
                if let Some(told) = told.filter(|told| *told < slots) {
                    self.too_few(told, slots);
                }
                told.map_or(slots, |told| told.min(slots))
            }
            (Slots::Auto, Some(told)) => told,
            // Ollama embeds one input after the other, and says nothing of the time that took.
            (Slots::Auto, None) if pass.set.embedding => 1,
            (Slots::Auto, None) => self.try_slots(&pass.model, pass.set).await?,
        };
        let how = if told.is_some() { "told" } else { "configured or tried" };
        tracing::info!(engine = &*self.id, model = pass.model, slots, how, "slots are known");
        Ok(slots)
    }

    /// Twice as many requests at once, again and again, until some of them wait for others.
    async fn try_slots(&self, model: &str, set: ReloadSet) -> Result<u32, Failure> {
        let mut running = 1;
        let mut tried = 2;
        while tried <= self.liveness.most_slots as usize {
            running = self.run_at_once(model, set, tried).await?;
            if running < tried {
                break;
            }
            tried *= 2;
        }
        Ok(u32::try_from(running.max(1)).unwrap_or(1))
    }

    /// How many of `count` requests are on a slot at the same time.
    async fn run_at_once(&self, model: &str, set: ReloadSet, count: usize) -> Result<usize, Failure> {
        let one = async |number: usize| {
            let words = counting(number);
            let response = self.ask(model, set, &words, TRIED_TOKENS).await?;
            let times = [response.timings.prompt, response.timings.answer];
            let took = times.into_iter().flatten().sum();
            Ok::<_, Failure>(OnSlot { ended: Instant::now(), took })
        };
        let answers = join_all((0..count).map(one)).await;
        let answers = answers.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(overlap::most(&answers))
    }
}
