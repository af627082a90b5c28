//! What an answer tells of its engine: its speed, its caches, its slots.

use std::{
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use caravan_proto::v1::{Basis, Usage};

use super::{
    Unit,
    affinity::{Change, Turn},
    concurrency::{Concurrency, Shortfall},
    lanes::Use,
    tempo::Answered,
};
use crate::{engine::Response, gate::Pass, ledger::Ledger, metrics};

/// An answer with what is known beside it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lesson<'a> {
    pub(crate) pass: &'a Pass<'a>,
    pub(crate) response: &'a Response,
    pub(crate) usage: &'a Usage,
    /// Tokens that its prompt has in common with what its lane sent before.
    pub(crate) shared: u64,
    /// From sending to having it.
    pub(crate) took: Duration,
    /// Every lane had a request in flight all the while.
    pub(crate) all_busy: bool,
}

/// Subjects of notes.
const CACHE: &str = "cache";
pub(super) const SLOTS: &str = "slots";

// === impl Unit ===

impl Unit {
    /// Learns from an answer, and mends what it shows to be wrong.
    pub(crate) fn learn(&self, ledger: &Ledger, lesson: &Lesson<'_>) {
        self.forget_before_load();
        let Lesson { response, usage, shared, took, .. } = *lesson;
        let measured = usage.cache_basis() == Basis::Measured;
        let unsigned = |tokens: i64| u64::try_from(tokens).unwrap_or(0);
        // Where the engine does not tell, only a prompt that shares nothing was surely evaluated whole.
        let evaluated = if measured || shared == 0 { unsigned(usage.evaluated_tokens) } else { 0 };
        let answered = Answered {
            evaluated,
            answer: unsigned(usage.completion_tokens),
            took,
            timings: response.timings,
        };
        self.tempo.observe(&lesson.pass.model, answered);
        self.cache(&Turn {
            prompt: unsigned(usage.prompt_tokens),
            shared,
            cached: measured.then(|| unsigned(usage.cached_tokens)),
            took: response.timings.prompt,
            token_seconds: self.tempo.prompt_seconds(&lesson.pass.model),
        });
        if lesson.all_busy {
            self.slots(ledger, lesson);
        }
    }

    /// After a load caches are cold and slots are whole.
    pub(super) fn forget_before_load(&self) {
        let loads = self.gate.loads();
        let mut known = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != loads {
            *known = loads;
            self.affinity.restart();
            self.lock_concurrency().restart();
            self.lanes.forget();
        }
    }

    fn cache(&self, turn: &Turn) {
        let (found, change) = self.affinity.observe(*turn);
        if let Some((cached, shared)) = found {
            metrics::prefix(cached, shared);
        }
        match change {
            Some(Change::Lost(share)) => {
                let note = format!(
                    "prompts are evaluated again that its slots should hold ({:.0} % of the shared tokens \
                     lately): other clients use it, or it cannot reuse prefixes of this model",
                    share * 100.0
                );
                tracing::warn!(engine = &*self.id, note);
                self.notes.set(CACHE, note);
            }
            Some(Change::Back) => {
                tracing::info!(engine = &*self.id, "its slots hold their prompts again");
                self.notes.clear(CACHE);
            }
            None => {}
        }
    }

    fn slots(&self, ledger: &Ledger, lesson: &Lesson<'_>) {
        let times = lesson.response.timings;
        let (Some(prompt), Some(answer)) = (times.prompt, times.answer) else { return };
        let on_slot = prompt + answer + times.load.unwrap_or_default();
        let lanes = self.lanes.now();
        let short = self.lock_concurrency().observe(lanes, lesson.took, on_slot, self.liveness.wait());
        let Some(Shortfall { running, was_full }) = short else { return };
        metrics::slots_missing(lanes.saturating_sub(running));
        if was_full && self.may_mend() {
            let note = format!(
                "only {running} of {lanes} requests ran at once: it lost slots, so its model was loaded anew"
            );
            tracing::warn!(engine = &*self.id, note);
            self.notes.set(SLOTS, note);
            metrics::mended("slots");
            self.gate.recycle();
        } else {
            self.too_few(running, lanes);
            self.drive_with(ledger, Use::of(lesson.pass), running);
        }
    }

    /// It runs fewer requests at once than it was driven with.
    pub(super) fn too_few(&self, running: u32, lanes: u32) {
        let note = format!(
            "it runs {running} and not {lanes} requests at once, whatever is configured: {running} lanes drive it"
        );
        tracing::warn!(engine = &*self.id, note);
        self.notes.set(SLOTS, note);
    }

    pub(super) fn lock_concurrency(&self) -> MutexGuard<'_, Concurrency> {
        self.concurrency.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
