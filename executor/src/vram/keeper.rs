//! Keeps one engine below the ceiling.

use std::{sync::Arc, time::Duration};

use caravan_request::EngineKind;
use tokio::time::Instant;

use super::{
    Standing, Vram,
    control::{Bounds, Control, Order, Sight},
    share::{Level, Share, gib},
};
use crate::{
    engine::{Class, Failure, Model},
    ledger::{Finish, Ledger},
    manage::Launch,
    metrics,
    unit::Unit,
};

/// Why work goes back.
const REASON: &str = "vram_over_ceiling";
/// Contexts are multiples of this: engines round up to it.
const STEP: u64 = 256;

/// Does what the control of one engine says.
#[derive(Debug)]
pub(super) struct Keeper {
    place: usize,
    unit: Arc<Unit>,
    ledger: Arc<Ledger>,
    vram: Arc<Vram>,
    control: Control,
    order: Order,
    /// The life of a managed engine in which it was asked to be started anew with less.
    shrunk: Option<u64>,
}

// === impl Keeper ===

impl Keeper {
    pub(super) fn new(place: usize, unit: Arc<Unit>, ledger: Arc<Ledger>, vram: Arc<Vram>) -> Self {
        let bounds = Bounds { readings: vram.limits.vram_readings, unfit_after: vram.limits.unfit() };
        Self { place, unit, ledger, vram, control: Control::new(bounds), order: Order::Work, shrunk: None }
    }

    /// Goes by every reading, for as long as it is polled.
    pub(super) async fn run(mut self) {
        let (start, mut readings) = (Instant::now(), self.vram.divided.subscribe());
        while readings.changed().await.is_ok() {
            let share = readings.borrow_and_update().shares.get(self.place).cloned().unwrap_or_default();
            let sight = Sight {
                at: start.elapsed(),
                level: share.level.as_ref(),
                busy: !self.unit.gate.is_idle(),
                own: share.bytes,
            };
            let order = self.control.step(&sight);
            if order != self.order {
                self.change(order, &share);
            }
            if let (Order::Unload, Some(level)) = (&self.order, &share.level)
                && !self.start_with_less(level)
            {
                self.load_with_less(level).await;
            }
        }
    }

    /// Begins to follow another order.
    fn change(&mut self, order: Order, share: &Share) {
        let engine = &self.unit.id;
        if let (Order::Work, Some(level)) = (&self.order, &share.level) {
            let (used, ceiling, cause) = (gib(level.used), gib(level.ceiling), level.cause);
            tracing::warn!(
                engine = &**engine,
                gpu = level.gpu,
                used,
                ceiling,
                ?cause,
                level.others,
                "VRAM is above the ceiling"
            );
            metrics::vram_crossed(cause.as_str());
        }
        let waits = || Standing::Waits(why_it_waits(share));
        let standing = match &order {
            Order::Work => Standing::Works,
            Order::FinishChunks => {
                self.ledger.close(engine, Finish::Chunks, REASON);
                waits()
            }
            Order::FinishRequests | Order::Unload => {
                self.ledger.close(engine, Finish::Requests, REASON);
                waits()
            }
            Order::Unfit(why) => {
                tracing::warn!(engine = &**engine, why, "engine is unfit");
                Standing::Unfit(why.clone())
            }
        };
        if let Some(before) = self.vram.standings().get_mut(self.place) {
            *before = standing;
        }
        if order == Order::Work {
            tracing::info!(engine = &**engine, "VRAM is below the ceiling again");
            self.ledger.open(engine);
        }
        self.ledger.report();
        self.order = order;
    }

    /// Has a managed engine started anew with less, once in each of its lives; false if that cannot be.
    fn start_with_less(&mut self, level: &Level) -> bool {
        let Some(managed) = &self.unit.managed else { return false };
        let Some(launch) = less(&managed.launch(), self.unit.engine.kind()) else { return false };
        let life = managed.lives();
        if self.shrunk.replace(life) != Some(life) {
            let (used, ceiling) = (gib(level.used), gib(level.ceiling));
            let why = format!(
                "GPU {} had {used} in use, above the ceiling of {ceiling}: now with {} slots of {} tokens",
                level.gpu, launch.slots, launch.context
            );
            managed.restart(launch, &why);
        }
        true
    }

    /// Unloads the engine, and has what was loaded there loaded with a smaller context from now on.
    async fn load_with_less(&self, level: &Level) {
        // Others are loaded once, at their start.
        if self.unit.engine.kind() != EngineKind::Ollama {
            return;
        }
        match self.unit.gate.evict().await {
            Ok(evicted) => evicted.iter().for_each(|model| self.limit(model, level)),
            Err(failure) => tracing::warn!(engine = &*self.unit.id, %failure, "not unloaded"),
        }
    }

    /// Half the context that was too much, if it can be halved.
    fn limit(&self, model: &Model, level: &Level) {
        let context = model.loaded.map_or(0, |loaded| loaded.context);
        let smaller = half(context);
        let (used, ceiling) = (gib(level.used), gib(level.ceiling));
        let why = format!(
            "with a context of {context} GPU {} had {used} in use, above the ceiling of {ceiling}",
            level.gpu
        );
        tracing::warn!(
            engine = &*self.unit.id,
            model = model.name,
            context,
            smaller,
            "unloaded: VRAM is above the ceiling"
        );
        let failure = Failure::own(Class::Model, REASON, why);
        let from = if smaller == 0 { 0 } else { smaller + 1 };
        self.unit.gate.refuse_from(&model.name, from, failure, LIMITED);
    }
}

/// How long a context that was too much is not asked for again: what filled the VRAM may be gone after a
/// day, and each try costs a load.
const LIMITED: Duration = Duration::from_secs(24 * 3600);

/// Half the slots; of one slot, half the context where that is fixed at the engine's start.
fn less(launch: &Launch, kind: EngineKind) -> Option<Launch> {
    if launch.slots > 1 {
        return Some(Launch { slots: launch.slots / 2, ..launch.clone() });
    }
    let context = half(launch.context);
    (kind == EngineKind::OpenAi && context > 0).then(|| Launch { context, ..launch.clone() })
}

fn half(context: u64) -> u64 {
    context / 2 / STEP * STEP
}

/// A sentence for a person.
fn why_it_waits(share: &Share) -> String {
    let Some(Level { gpu, used, ceiling, .. }) = &share.level else {
        return "it takes no new work: how much VRAM is in use is no longer known".to_owned();
    };
    let (used, ceiling) = (gib(*used), gib(*ceiling));
    format!("it takes no new work: GPU {gpu} has {used} in use, above the ceiling of {ceiling}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_managed_engine_gets_half_the_slots_and_then_half_the_context_until_there_is_no_less() {
        let launch = toml::from_str("kind = 'openai'\nslots = 5\nmax_context = 1200\n[managed]").unwrap();
        let mut launch = Launch::of(&launch);
        let mut seen = Vec::new();
        while let Some(next) = less(&launch, EngineKind::OpenAi) {
            seen.push((next.slots, next.context));
            launch = next;
        }
        assert_eq!(seen, [(2, 1_200), (1, 1_200), (1, 512), (1, 256)]);
        // An Ollama is told its context with each request.
        assert_eq!(less(&Launch { context: 8_192, ..launch }, EngineKind::Ollama), None);
    }
}
