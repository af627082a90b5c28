//! Whether an engine answers: what it says of itself, and, where that is in doubt, a request.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{Unit, ask::is_answer};
use crate::{
    backoff::Backoff,
    engine::{Class, Description, Failure, Model, ReloadSet},
    ledger::Ledger,
    metrics,
};
use caravan_request::EngineKind;

/// Why it is doubted that requests are answered, though the engine answers about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    /// A request was not answered in time.
    Late,
    /// Nothing was answered for longer than it should take.
    Quiet,
    /// Nothing was asked for a while.
    Idle,
    /// A load did not end in time.
    Load,
}

/// Whether requests are sent all the same.
fn lets_send(doubt: Option<Doubt>) -> bool {
    matches!(doubt, None | Some(Doubt::Quiet))
}

// === impl Unit ===

impl Unit {
    /// Asks the engine how it is, again and again, for as long as it is polled; lanes and
    /// heartbeat see the answers. `pauses` paces it while the engine is silent.
    pub(crate) async fn watch(&self, ledger: &Ledger, every: Duration, mut pauses: Backoff) {
        loop {
            match self.inquire(ledger).await {
                Ok(description) => {
                    pauses.reset();
                    self.answered(ledger, description);
                    self.look_for_others().await;
                    self.attend(every).await;
                }
                Err(failure) => {
                    self.down(ledger, self.health.silent(&failure.message), &failure.message);
                    let _told = timeout(pauses.pause(), self.again.notified()).await;
                }
            }
        }
    }

    /// Asks the engine now what it has; lanes and heartbeat see the answer.
    pub(crate) async fn look(&self, ledger: &Ledger) -> Result<Vec<Model>, Failure> {
        let description = self.engine.describe().await?;
        let models = description.models.clone();
        self.answered(ledger, description);
        Ok(models)
    }

    /// What it says of itself, and whether it answers requests where that is in doubt.
    async fn inquire(&self, ledger: &Ledger) -> Result<Description, Failure> {
        let description = self.engine.describe().await?;
        let doubt = *self.doubt.borrow();
        if let Some(doubt) = doubt {
            self.prove(ledger, doubt, &description).await?;
        }
        Ok(description)
    }

    fn answered(&self, ledger: &Ledger, description: Description) {
        let started_with = self.managed.as_ref().map(|managed| managed.launch().slots);
        let lanes = self.lanes.begin(started_with.or(description.slots));
        let was_up = self.health.now().up;
        if self.health.answered(description) {
            let crate::health::State { up, message, .. } = self.health.now();
            if up != was_up {
                tracing::info!(engine = &*self.id, lanes, up, message, "engine answers");
            }
            ledger.set_up(&self.id, up);
        }
    }

    /// Waits until there is a reason to look again.
    async fn attend(&self, every: Duration) {
        if !self.health.now().up {
            return sleep(every).await;
        }
        let mut doubts = self.doubt.subscribe();
        tokio::select! {
            () = self.health.down_within(every) => {}
            () = self.traffic.quiet() => self.doubted(Doubt::Quiet),
            _doubted = doubts.wait_for(Option::is_some) => {}
        }
    }

    /// Something speaks against requests being answered.
    pub(super) fn doubted(&self, doubt: Doubt) {
        self.doubt.send_if_modified(|now| {
            let news = now.is_none();
            if news {
                tracing::debug!(engine = &*self.id, ?doubt, "doubted");
                *now = Some(doubt);
            }
            news
        });
    }

    /// Whether nothing speaks against sending a request. After a time without work something does.
    pub(crate) fn is_trusted(&self) -> bool {
        if self.traffic.idle().is_some_and(|idle| idle >= self.liveness.idle()) {
            self.doubted(Doubt::Idle);
        }
        lets_send(*self.doubt.borrow())
    }

    /// Whether it is being looked into why a request was not answered.
    pub(crate) fn is_doubted(&self) -> bool {
        matches!(*self.doubt.borrow(), Some(Doubt::Late | Doubt::Load))
    }

    /// Waits until nothing speaks against sending a request.
    pub(crate) async fn trusted(&self) {
        let mut doubts = self.doubt.subscribe();
        // The sender lives in self, so waiting does not fail.
        let _trusted = doubts.wait_for(|doubt| lets_send(*doubt)).await;
    }

    /// Asks for proof that requests are answered. If they are not, mends the engine as far as it can.
    async fn prove(&self, ledger: &Ledger, doubt: Doubt, description: &Description) -> Result<(), Failure> {
        let known = if doubt == Doubt::Load { self.gate.tried() } else { self.gate.active() };
        if let Some((model, set)) = known {
            let is_loaded = self.engine.kind() == EngineKind::OpenAi
                || description.model(&model).is_some_and(|known| known.loaded.is_some());
            let proved = match (is_loaded, doubt) {
                (true, _) => self.answers(&model, set).await,
                // Any answer will do, also that it does not load.
                (false, Doubt::Load) => is_answer(&self.engine.load(&model, set).await),
                // A scheduler that hangs while it makes room has nothing loaded, and answers nobody.
                (false, _) => timeout(self.load_within(), self.engine.load(&model, set))
                    .await
                    .is_ok_and(|loaded| is_answer(&loaded)),
            };
            if !proved {
                self.stuck(ledger, &model, set, is_loaded).await?;
            }
        }
        self.believe(doubt);
        Ok(())
    }

    /// Whether a request for one token is answered, or one of those in flight meanwhile. Where all slots
    /// are taken by ours, the oldest has to make room after a while.
    async fn answers(&self, model: &str, set: ReloadSet) -> bool {
        let asked = self.says_anything(model, set);
        tokio::pin!(asked);
        for _ in 0..2 {
            tokio::select! {
                answers = &mut asked => return answers,
                () = self.traffic.next_answer() => return true,
                () = sleep(self.probe_time()) => {}
            }
            // The one that asks is among them.
            if self.traffic.len() <= self.lanes.now() as usize {
                return false;
            }
            self.traffic.stop_oldest();
        }
        false
    }

    fn believe(&self, doubt: Doubt) {
        match doubt {
            // Only a real answer ends a silence: it is looked into again, later.
            Doubt::Quiet => self.traffic.found_well(),
            _ => self.traffic.answered(),
        }
        self.doubt.send_replace(None);
    }

    /// The engine answers about itself and nothing else: no request is at fault. A model that is
    /// unloaded takes its runner with it; if that does not help, only a restart does.
    async fn stuck(
        &self,
        ledger: &Ledger,
        model: &str,
        set: ReloadSet,
        is_loaded: bool,
    ) -> Result<(), Failure> {
        let why = "it answers about itself, but no request";
        self.down(ledger, self.health.stuck(why), why);
        metrics::stuck();
        self.traffic.stop_all();
        // Their lanes drop them at once.
        let _dropped = timeout(self.probe_time(), self.traffic.empty()).await;
        if is_loaded && self.may_mend() && self.load_anew(model, set).await && self.answers(model, set).await
        {
            tracing::warn!(engine = &*self.id, model, "was stuck: loading its model anew helped");
            metrics::mended("stuck");
            return Ok(());
        }
        let what = match &self.managed {
            Some(managed) => {
                // Unless that is under way.
                if managed.doing().is_empty() {
                    managed.restart_at_once("it answered no request");
                }
                "it is started again"
            }
            None => "loading its model anew does not help: restart it (it is tried again until then)",
        };
        Err(Failure::own(Class::Down, "engine_stuck", format!("stuck: {why}; {what}")))
    }

    async fn load_anew(&self, model: &str, set: ReloadSet) -> bool {
        let unloaded = timeout(self.liveness.unload(), self.engine.unload(model)).await;
        if !matches!(unloaded, Ok(Ok(()))) {
            return false;
        }
        matches!(timeout(self.load_within(), self.engine.load(model, set)).await, Ok(Ok(())))
    }

    /// How long a load may take, by the last one.
    fn load_within(&self) -> Duration {
        self.liveness.allowed(self.gate.load_time(), Duration::ZERO)
    }
}
