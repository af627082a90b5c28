//! One request on its slot: evaluated, then generated, at the set speeds and with the fault that hit it.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::answer;
use crate::fault::{Fault, Faults};
use crate::library::Library;
use crate::options::Options;
use crate::process::Process;
use crate::schema;
use crate::stats::{InFlight, Stats};
use crate::tokens::{count_tokens, mix};

use super::scheduler::{Lease, Scheduler};
use super::{Failure, KeepAlive, Overflow, Prompt, ReloadSet};

/// An answer without a limit ends here, in contexts (as Ollama's does).
const CONTEXTS: usize = 10;
/// Equal tokens after which an answer is given up.
const REPEATED: usize = 30;

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) options: Options,
    pub(crate) library: Library,
    pub(crate) stats: Arc<Stats>,
    pub(crate) faults: Faults,
    pub(crate) scheduler: Arc<Scheduler>,
    pub(crate) process: Arc<Process>,
}

/// The form that an answer must have.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Format {
    Text,
    Json,
    Schema(Value),
}

/// A request for an answer, its prompt rendered.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) set: ReloadSet,
    pub(crate) keep_alive: KeepAlive,
    pub(crate) prompt: Prompt,
    pub(crate) question: String,
    pub(crate) format: Format,
    /// `num_predict`: below 0 without a limit, 0 to the context's end.
    pub(crate) num_predict: i64,
    pub(crate) stops: Vec<String>,
    pub(crate) overflow: Overflow,
    pub(crate) fault: Option<Fault>,
    pub(crate) in_flight: InFlight,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DoneReason {
    Stop,
    Length,
    /// It did not: the engine gave it up without a word.
    Aborted,
}

/// What is done to the finished body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mangle {
    Disconnect,
    InvalidJson,
    Truncated,
}

/// An answer being generated: the prompt is evaluated, the text is known, its time is not over.
#[derive(Debug)]
pub(crate) struct Generation {
    engine: Arc<Engine>,
    lease: Lease,
    pub(crate) text: String,
    pub(crate) reason: DoneReason,
    pub(crate) mangle: Option<Mangle>,
    pub(crate) prompt_tokens: usize,
    pub(crate) cached_tokens: usize,
    pub(crate) answer_tokens: usize,
    pub(crate) started: Instant,
    pub(crate) load: Duration,
    pub(crate) prefill: Duration,
    pub(crate) decode: Duration,
    marker: Option<String>,
    context: usize,
    prompt: Prompt,
    _in_flight: Option<InFlight>,
}

// === impl Engine ===

impl Engine {
    /// Waits for a slot and evaluates the prompt.
    ///
    /// # Errors
    /// Whatever the real thing would say.
    pub(crate) async fn begin(self: &Arc<Self>, ask: Ask) -> Result<Generation, Failure> {
        let started = Instant::now();
        self.refuse(&ask)?;
        let lease = self.scheduler.slot(ask.set.clone(), ask.prompt.chain.clone(), ask.keep_alive).await?;
        // As the real thing: a wait for a slot is in the total alone.
        let load = lease.joined().saturating_duration_since(started);
        let cached = lease.cached();
        self.stats.evaluated(ask.prompt.len(), cached, ask.prompt.system);
        let prefill = self.options.prefill_time(ask.prompt.len() - cached);
        let evaluated = Instant::now();
        let mut generation = self.plan(ask.prompt.len(), &ask, lease, started)?;
        generation.load = load;
        generation.cached_tokens = cached;
        generation._in_flight = Some(ask.in_flight);
        self.pass(&generation.lease, prefill).await?;
        self.strike(ask.fault, &mut generation).await?;
        generation.prefill = evaluated.elapsed();
        Ok(generation)
    }

    /// Faults that strike before a slot is taken.
    fn refuse(&self, ask: &Ask) -> Result<(), Failure> {
        let Some(fault) = &ask.fault else { return Ok(()) };
        let v0_33 = self.options.is_v0_33();
        Err(match fault {
            Fault::NotFound => Failure::model_not_found(&ask.set.model),
            Fault::TooLong => Failure::too_long(v0_33, ask.prompt.len(), ask.set.context),
            Fault::Busy => Failure::busy(),
            Fault::Error { status, message } => Failure::new(*status, message.clone()),
            Fault::RunnerStopped => Failure::runner_stopped(),
            Fault::RunnerLost => Failure::runner_lost(),
            Fault::NoLongerRunning => Failure::no_longer_running(v0_33),
            Fault::LoadDamaged => Failure::load_damaged(),
            Fault::LoadKilled => Failure::load_killed(),
            Fault::LoadOutOfMemory => Failure::load_out_of_memory(),
            Fault::LoadTimeout => Failure::load_timeout(),
            _ => return Ok(()),
        })
    }

    /// Faults that strike on a slot.
    async fn strike(&self, fault: Option<Fault>, generation: &mut Generation) -> Result<(), Failure> {
        match fault {
            Some(Fault::Hang) => {
                generation.lease.dead().cancelled().await;
                return Err(Failure::runner_lost());
            }
            Some(Fault::Crash) => {
                self.scheduler.crash();
                return Err(Failure::runner_lost());
            }
            Some(Fault::Exit) => {
                self.process.die();
                std::future::pending::<()>().await;
            }
            Some(Fault::Slow { millis }) => {
                self.pass(&generation.lease, Duration::from_millis(millis)).await?
            }
            Some(Fault::DoneFalse) => generation.abort("half an answer, then".into()),
            Some(Fault::Repeat) => generation.abort(vec!["blue"; REPEATED].join(" ")),
            Some(Fault::Disconnect) => generation.mangle = Some(Mangle::Disconnect),
            Some(Fault::InvalidJson) => generation.mangle = Some(Mangle::InvalidJson),
            Some(Fault::TruncatedBody) => generation.mangle = Some(Mangle::Truncated),
            _ => {}
        }
        Ok(())
    }

    /// Lets `time` pass and waits for a frozen runner, unless it dies.
    async fn pass(&self, lease: &Lease, time: Duration) -> Result<(), Failure> {
        let over = async {
            if !time.is_zero() {
                tokio::time::sleep(time).await;
            }
            lease.thawed().await;
        };
        unless_dead(lease, over).await
    }

    fn plan(
        self: &Arc<Self>,
        prompt_tokens: usize,
        ask: &Ask,
        lease: Lease,
        started: Instant,
    ) -> Result<Generation, Failure> {
        let per_word = self.options.tokens_per_word.max(1);
        let room = ask.set.context.saturating_sub(prompt_tokens);
        let (mut text, natural) = self.answer(ask)?;
        // Without `shift` the context's end is the answer's end; nothing goes past ten contexts.
        let mut limit = if ask.overflow.shift { CONTEXTS * ask.set.context } else { room };
        if let Ok(asked @ 1..) = usize::try_from(ask.num_predict) {
            limit = limit.min(asked);
        }
        let never_stops = ask.num_predict == 0 || ask.fault == Some(Fault::Endless);
        let endless = never_stops && ask.format == Format::Text;
        let mut tokens = if endless { limit } else { natural.min(limit) };
        let mut reason = if endless || natural > limit { DoneReason::Length } else { DoneReason::Stop };
        if ask.format == Format::Text {
            text = answer::text(&ask.question, tokens.div_ceil(per_word));
            if self.options.nondeterministic {
                answer::vary(&mut text, mix(lease.cached() as u64, self.stats.in_flight()));
            }
        } else if reason == DoneReason::Length {
            answer::cut(&mut text, tokens.div_ceil(per_word));
        }
        if answer::stop_at(&mut text, &ask.stops) {
            tokens = tokens.min(count_tokens(&text) * per_word);
            reason = DoneReason::Stop;
        }
        Ok(Generation {
            engine: self.clone(),
            lease,
            text,
            reason,
            mangle: None,
            prompt_tokens,
            cached_tokens: 0,
            answer_tokens: tokens,
            started,
            load: Duration::ZERO,
            prefill: Duration::ZERO,
            decode: self.options.decode_time(tokens) + Duration::from_millis(self.options.answer_ms),
            marker: marker(&ask.question),
            context: ask.set.context,
            prompt: ask.prompt.clone(),
            _in_flight: None,
        })
    }

    /// The structured answer (empty for plain text), and the tokens of the whole answer.
    fn answer(&self, ask: &Ask) -> Result<(String, usize), Failure> {
        let text = match &ask.format {
            Format::Text => return Ok((String::new(), self.options.answer_tokens)),
            Format::Json => serde_json::json!({"answer": answer::answer_for(&ask.question)}).to_string(),
            Format::Schema(schema) => schema::instance(schema, &ask.question)
                .map_err(|part| Failure::bad_schema(self.options.is_v0_33(), &part))?
                .to_string(),
        };
        let tokens = count_tokens(&text) * self.options.tokens_per_word;
        Ok((text, tokens.max(1)))
    }
}

// === impl Generation ===

impl Generation {
    /// Generates the rest: all of the answer's time passes.
    ///
    /// # Errors
    /// The runner died.
    pub(crate) async fn finish(&mut self) -> Result<(), Failure> {
        let decode = self.decode;
        self.pass(decode).await?;
        self.finished();
        Ok(())
    }

    /// Lets a part of the answer's time pass, as streams do.
    ///
    /// # Errors
    /// The runner died.
    pub(crate) async fn pass(&self, time: Duration) -> Result<(), Failure> {
        self.engine.pass(&self.lease, time).await
    }

    /// The answer is out: it is counted, and the slot's cache holds it too.
    pub(crate) fn finished(&mut self) {
        if self.reason == DoneReason::Aborted {
            return;
        }
        let mut chain = (*self.prompt.chain).clone();
        chain.role("assistant", 0);
        chain.text(&self.text, self.engine.options.tokens_per_word);
        chain.truncate(self.context);
        self.lease.keep(chain);
        let context = (self.prompt_tokens + self.answer_tokens).min(self.context);
        self.engine.stats.answered(self.answer_tokens, context, self.marker.as_deref());
    }

    /// The tokens of prompt and answer, as `context` shows them.
    pub(crate) fn context_ids(&self) -> Vec<u32> {
        let mut chain = (*self.prompt.chain).clone();
        chain.text(&self.text, self.engine.options.tokens_per_word);
        chain.ids()
    }

    /// The tokens of the prompt, as they are reported. A prompt is never empty: it begins with a token of
    /// its own.
    pub(crate) fn reported_prompt(&self) -> usize {
        let cached = if self.engine.options.counts_only_evaluated() { self.cached_tokens } else { 0 };
        self.prompt_tokens.max(1) - cached
    }

    /// The client left in the middle of a stream.
    pub(crate) fn left(&self) {
        if self.engine.options.leak_streams {
            self.lease.lose();
        }
    }

    /// A stream begins.
    pub(crate) fn streamed(&self) {
        self.engine.stats.streamed();
    }

    /// `prompt_eval_cached_count`, where it is reported.
    pub(crate) fn reported_cached(&self) -> Option<usize> {
        self.engine.options.counts_cached().then_some(self.cached_tokens)
    }

    fn abort(&mut self, text: String) {
        self.text = text;
        self.reason = DoneReason::Aborted;
    }
}

/// A word of the question that begins with `marker=`: the rest of it.
fn marker(question: &str) -> Option<String> {
    let at = question.find("marker=")? + "marker=".len();
    question[at..].split_ascii_whitespace().next().map(str::to_owned)
}

async fn unless_dead(lease: &Lease, over: impl Future<Output = ()>) -> Result<(), Failure> {
    tokio::select! {
        biased;
        () = over => {}
        () = lease.dead().cancelled() => {}
    }
    if lease.dead().is_cancelled() { Err(Failure::runner_lost()) } else { Ok(()) }
}
