//! One request, from its first try to its answer or its failure.

use std::time::Duration;

use caravan_proto::v1::Usage;
use serde_json::{Map, Value};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::Instrument as _;

use super::{
    End, Lane,
    trial::{KILLS_ENGINE, Trial, Verdict},
};
use crate::{
    backoff::Backoff,
    engine::{Call, Class, Failure, Response},
    gate::{Flight, Need, Pass},
    health::Life,
    lease::Lease,
    metrics,
    unit::{Blame, Unit, Work},
    usage,
};

/// Code of an answer that is not of the form that was asked for.
const INVALID_OUTPUT: &str = "invalid_structured_output";
/// Code of a request that was stopped, as it appears if it is quarantined.
const STOPPED: &str = "engine_stuck";

/// A request that took so long until its prompt was evaluated had a model loaded for it: 1 ms without and
/// 1.5 s with the smallest one, as measured.
const LOADED: Duration = Duration::from_millis(100);

/// What is asked of the engine.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) lease: &'a Lease,
    pub(super) pass: &'a Pass<'a>,
    pub(super) call: &'a Call<'a>,
}

/// An answer of the form that was asked for.
pub(super) struct Answered {
    pub(super) response: Response,
    /// Of all answers to the request, invalid ones included.
    pub(super) usage: Usage,
}

/// Why there is no answer.
pub(super) enum Unanswered {
    /// The request failed: that is its result, and what invalid answers took.
    Ended(Failure, Option<Usage>),
    /// The chunk leaves the lane; the request has no result.
    Chunk(End),
}

/// An answer as it came in.
pub(super) struct Came {
    pub(super) response: Response,
    /// From sending to having it.
    pub(super) took: Duration,
    /// Every lane of the engine had a request in flight all the while.
    pub(super) all_busy: bool,
}

/// Bounds how long a lease is held while its engine makes no progress.
struct Patience {
    backoff: Backoff,
    deadline: Option<Instant>,
}

/// An answer that did not come in time. It counts as a try only if the engine answers
/// its next probe: then the request was at fault, not the engine. If the engine is found
/// stuck instead, the request is a suspect, as of a death.
struct Late {
    failure: Failure,
    /// The life that the try began in.
    life: Life,
    /// It ran alone.
    alone: bool,
}

// === impl Lane ===

impl Lane {
    /// Enters the gate, waiting for an engine that is down.
    pub(super) async fn enter<'u>(&mut self, unit: &'u Unit, need: Need) -> Result<Pass<'u>, End> {
        let mut patience = self.patience();
        let mut trial = Trial::new(self.limits.tries);
        loop {
            let life = self.up(&mut patience).await?;
            let entered = self.unless_draining(unit.gate.enter(need.clone())).await;
            let failure = match entered.ok_or(End::HandBack("drain"))? {
                Ok(pass) => match unit.suit(&self.ledger, &pass).await {
                    Ok(()) => return Ok(pass),
                    Err(failure) => failure,
                },
                Err(failure) => failure,
            };
            self.warm.forget();
            match trial.judge(&failure, false) {
                verdict @ (Verdict::Again | Verdict::Wait) => {
                    self.pause(verdict, &failure, life, &mut patience).await?;
                }
                Verdict::HandBack => return Err(self.model_unusable()),
                Verdict::Ended | Verdict::Quarantine => {
                    unit.gate.refuse(&need.model, failure);
                    return Err(self.model_unusable());
                }
            }
        }
    }

    /// Asks until there is an answer of the form that was asked for, or none will come.
    pub(super) async fn answer(&mut self, asked: &Asked<'_>) -> Result<Answered, Unanswered> {
        let form = self
            .forms
            .of(asked.call.body)
            .map_err(|why| Unanswered::Ended(Failure::own(Class::Request, INVALID_OUTPUT, why), None))?;
        let mut trial = Trial::new(self.limits.tries);
        let mut patience = self.patience();
        // Of an invalid answer: one is run again.
        let mut spent: Option<Usage> = None;
        let mut late: Option<Late> = None;
        loop {
            let life = self.up(&mut patience).await?;
            if let Some(Late { failure, life: began, alone }) = late.take() {
                if life.answered_since(began) {
                    if trial.counted() == Verdict::Ended {
                        return Err(Unanswered::Ended(failure, spent));
                    }
                    // Bounded by its tries now.
                    patience.deadline = None;
                } else if life.stuck_since(began) && trial.died(alone) == Verdict::Quarantine {
                    return Err(Unanswered::Ended(quarantined(&failure), spent));
                }
            }
            let alone = trial.is_suspect();
            let failure = match self.try_once(asked, alone, &mut patience).await? {
                Ok(came) => {
                    let before = spent.take();
                    let is_last = before.is_some() || is_final(&came.response, asked.call.body);
                    let usage = usage::sum(self.account(asked, &came), before);
                    match form.check(&came.response) {
                        Ok(()) => return Ok(Answered { response: came.response, usage }),
                        Err(why) if is_last => {
                            return Err(Unanswered::Ended(
                                Failure::own(Class::Request, INVALID_OUTPUT, why),
                                Some(usage),
                            ));
                        }
                        Err(_) => {
                            spent = Some(usage);
                            metrics::repeated("invalid_output");
                            continue;
                        }
                    }
                }
                Err(failure) => failure,
            };
            match trial.judge(&failure, alone) {
                Verdict::Ended => return Err(Unanswered::Ended(failure, spent)),
                Verdict::Quarantine => return Err(Unanswered::Ended(quarantined(&failure), spent)),
                Verdict::HandBack => {
                    self.unit.gate.refuse(&asked.pass.model, failure);
                    return Err(self.model_unusable().into());
                }
                verdict => self.pause(verdict, &failure, life, &mut patience).await?,
            }
            late = (failure.code == Failure::TIMEOUT).then_some(Late { failure, life, alone });
        }
    }

    /// Sends the request once, as soon as it may: a result has room, and it is its turn.
    async fn try_once(
        &mut self,
        asked: &Asked<'_>,
        alone: bool,
        patience: &mut Patience,
    ) -> Result<Result<Came, Failure>, End> {
        let gate = &self.unit.gate;
        let turn = async {
            self.ledger.room().await;
            if alone { gate.alone(asked.pass).await } else { gate.shared(asked.pass).await }
        };
        let flight: Flight<'_> = match self.unless_draining(turn).await.ok_or(End::HandBack("drain"))? {
            Ok(flight) => flight,
            Err(failure) => return Ok(Err(failure)),
        };
        if !self.unit.serves(asked.lease) {
            return Err(self.model_changed());
        }
        if alone && self.unit.is_doubted() {
            // While it waited for its turn another request was not answered: it would be blamed for that.
            return Ok(Err(Failure::own(
                Class::Bystander,
                "engine_doubted",
                "the engine is being looked at",
            )));
        }
        if !self.ledger.start(asked.lease) {
            return Err(End::Dropped);
        }
        let span = tracing::debug_span!("engine", alone);
        let answer = tokio::select! {
            answer = self.send(asked).instrument(span) => answer,
            () = self.shutdown.expired() => return Err(End::HandBack("drain")),
        };
        if alone && answer.as_ref().is_err_and(|(failure, _)| failure.code == Failure::TIMEOUT) {
            self.unit.is_late();
        }
        drop(flight);
        let took = answer.as_ref().map_or_else(|(_, took)| *took, |came| came.took);
        let answer = answer.map_err(|(failure, _)| failure);
        if let Ok(came) = &answer
            && !self.is_of_the_batch(asked.lease, &came.response).await
        {
            return Err(self.model_changed());
        }
        patience.ran(took, self.ledger.ttl());
        if answer
            .as_ref()
            .is_err_and(|failure| matches!(failure.class, Class::Suspect | Class::Bystander | Class::Down))
        {
            self.warm.forget();
        }
        Ok(answer)
    }

    /// Sends it and waits for what comes of it, at most as long as it may take.
    async fn send(&self, asked: &Asked<'_>) -> Result<Came, (Failure, Duration)> {
        let (unit, call) = (&self.unit, asked.call);
        let expected = unit.expected(call.model, work(asked));
        let within = expected.map_or(Duration::MAX, |expected| expected.longest);
        let in_flight = unit.traffic.begin(expected.map(|expected| expected.usual));
        let lanes = unit.lanes.now() as usize;
        let all_busy = unit.traffic.len() >= lanes;
        let start = Instant::now();
        let answer = tokio::select! {
            answer = timeout(within, unit.engine.run(call)) => answer.unwrap_or_else(|_| Err(late(within))),
            blame = in_flight.stopped() => Err(stopped(blame)),
        };
        let took = start.elapsed();
        let all_busy = all_busy && unit.traffic.len() >= lanes;
        let silent =
            answer.as_ref().is_err_and(|failure| failure.code == STOPPED || failure.class == Class::Down);
        if !silent {
            unit.traffic.answered();
        }
        answer.map(|response| Came { response, took, all_busy }).map_err(|failure| (failure, took))
    }

    /// Waits for the engine, at most until its lease is better given back.
    async fn up(&self, patience: &mut Patience) -> Result<Life, End> {
        let unit = &self.unit;
        if unit.is_trusted()
            && let Some(life) = unit.health.is_up()
        {
            return Ok(life);
        }
        let up = async {
            loop {
                let life = unit.health.up().await;
                unit.trusted().await;
                if unit.health.is_up() == Some(life) {
                    return life;
                }
            }
        };
        let up = timeout_at(self.deadline(patience), up);
        let up = self.unless_draining(up).await.ok_or(End::HandBack("drain"))?;
        up.map_err(|_| End::HandBack("engine_down"))
    }

    /// Until when a lease is held without progress: one life of it from the first wait on.
    fn deadline(&self, patience: &mut Patience) -> Instant {
        *patience.deadline.get_or_insert_with(|| Instant::now() + self.ledger.ttl())
    }

    /// Whether an answer came from the digest that the batch is held to. Somebody else may give a name to
    /// another model at any time; then the engine loads it for the next request, and tells by the time
    /// that this took.
    async fn is_of_the_batch(&self, lease: &Lease, response: &Response) -> bool {
        let loaded = response.timings.load.is_some_and(|load| load >= LOADED);
        let held = lease.digest.is_some() && loaded;
        !held || self.unit.look(&self.ledger).await.is_ok() && self.unit.serves(lease)
    }

    /// As `model_unusable`, for a model that is another now.
    fn model_changed(&self) -> End {
        self.ledger.report();
        End::HandBack("model_changed")
    }

    /// The planner hears at once that the model is not to be had here, then gets its
    /// lease back.
    fn model_unusable(&self) -> End {
        self.ledger.report();
        End::HandBack("model_unusable")
    }

    /// Waits as `verdict` says, at most until the lease is better given back.
    async fn pause(
        &self,
        verdict: Verdict,
        failure: &Failure,
        life: Life,
        patience: &mut Patience,
    ) -> Result<(), End> {
        tracing::debug!(class = ?failure.class, code = failure.code, "to be tried again");
        metrics::repeated(class_name(failure.class));
        if verdict == Verdict::Wait {
            self.unit.failed(&self.ledger, life, failure);
        }
        // Retries and deaths are bounded by themselves; waiting is bounded by the lease.
        let waits = matches!(failure.class, Class::Down | Class::Bystander);
        if waits && Instant::now() >= self.deadline(patience) {
            return Err(End::HandBack("engine_down"));
        }
        let pause = tokio::time::sleep(patience.backoff.pause());
        self.unless_draining(pause).await.ok_or(End::HandBack("drain"))
    }

    fn patience(&self) -> Patience {
        let backoff = Backoff::new(self.limits.first_pause(), self.limits.longest_pause());
        Patience { backoff, deadline: None }
    }
}

/// What is asked for: where nothing else bounds the answer, the context does.
fn work(Asked { pass, call, .. }: &Asked<'_>) -> Work {
    let context = (pass.set.context > 0).then_some(pass.set.context);
    Work { prompt: call.prompt_tokens, answer: call.answer_limit().or(context) }
}

/// It took longer than it may at the engine's own speed.
fn late(within: Duration) -> Failure {
    let message = format!("no answer within {} s, long enough at the speed measured", within.as_secs());
    Failure::own(Class::Down, Failure::TIMEOUT, message)
}

/// It was stopped because of the engine.
fn stopped(blame: Blame) -> Failure {
    let class = match blame {
        Blame::None => Class::Bystander,
        Blame::Suspect => Class::Suspect,
    };
    Failure::own(class, STOPPED, "the engine got stuck while it ran")
}

fn class_name(class: Class) -> &'static str {
    match class {
        Class::Request => "request",
        Class::Model => "model",
        Class::Retry => "retry",
        Class::Suspect => "suspect",
        Class::Bystander => "bystander",
        Class::Down => "down",
    }
}

/// Whether another run would end as this one did: at its limit, with nothing left to chance.
fn is_final(response: &Response, body: &Map<String, Value>) -> bool {
    let options = body.get("options").and_then(|options| options.get("temperature"));
    let temperature = body.get("temperature").or(options).and_then(Value::as_f64);
    response.length_limited && temperature == Some(0.0)
}

fn quarantined(failure: &Failure) -> Failure {
    let message =
        format!("the engine died or got stuck twice while it ran nothing else: {}", failure.message);
    Failure::own(Class::Request, KILLS_ENGINE, message)
}

// === impl Patience ===

impl Patience {
    /// A try ran for `took`. If that is longer than a lease lives, what was waited for
    /// before it is over.
    fn ran(&mut self, took: Duration, ttl: Duration) {
        if took > ttl {
            self.deadline = None;
        }
    }
}

// === impl Unanswered ===

impl From<End> for Unanswered {
    fn from(end: End) -> Self {
        Self::Chunk(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_try_ends_what_was_waited_for_before_it() {
        let (pause, ttl) = (Duration::from_secs(1), Duration::from_secs(30));
        let deadline = Some(Instant::now());
        let mut patience = Patience { backoff: Backoff::new(pause, pause), deadline };
        patience.ran(ttl, ttl);
        assert_eq!(patience.deadline, deadline);
        patience.ran(ttl + pause, ttl);
        assert_eq!(patience.deadline, None);
    }
}
