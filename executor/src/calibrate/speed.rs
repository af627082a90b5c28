//! Speed with so many lanes busy, measured the way a batch runs: each lane keeps one request in flight, on a
//! prefix of its own that its slot holds.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
};

use tokio::{task::JoinSet, time::Instant};

use super::{
    Error, Phase,
    ask::{Answered, Question, Target},
    attempt::{Attempt, attempt},
    measurement::{Burst, Measurement, Trial},
    reuse,
    run::Run,
    words::Words,
};
use crate::engine::{Engine, Failure, ReloadSet};

/// Own part and answer, in tokens, of each kind of request: what tells a prompt's time from an answer's
/// and both from what a request takes besides.
const WORKLOADS: [Workload; 5] = [
    Workload { own: 32, answer: 8 },
    Workload { own: 512, answer: 8 },
    Workload { own: 32, answer: 64 },
    Workload { own: 256, answer: 64 },
    Workload { own: 64, answer: 128 },
];
/// Requests of a kind that each lane runs in a burst, one after the other.
const REQUESTS: u32 = 3;
/// Bursts of which speed is concluded, where time allows more than one.
const BURSTS: usize = 5;
/// The shared prefix where there is a choice: longer than an instruction, shorter than most contexts.
const PREFIX: u64 = 512;
/// How often requests may be made smaller by half for an engine that is slow.
const HALVINGS: u32 = 4;

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Workload {
    own: u64,
    answer: u64,
}

/// What every lane of a burst works with.
#[derive(Debug, Clone)]
struct Bench {
    engine: Arc<dyn Engine>,
    model: String,
    set: ReloadSet,
    /// Tokens of each lane's prefix; 0: none.
    prefix: u64,
    /// Whether the engine evaluates a prefix again.
    prefix_is_reused: bool,
    lanes: u32,
}

/// Seconds of a lane for a token of a prompt and of an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Pace {
    prompt: f64,
    answer: f64,
}

/// One lane: its prefix stays the same from burst to burst.
#[derive(Debug)]
struct Lane {
    words: Words,
    shared: String,
}

/// Measures at 1, 2, 4 … lanes.
pub(super) async fn measure(run: &mut Run<'_>) -> Result<(), Error> {
    let levels = levels(run.most_slots());
    let end = run.budget.end(Phase::Speed);
    let missing =
        |run: &Run<'_>, lanes: u32| run.log.bursts().filter(|burst| burst.lanes == lanes).count() < BURSTS;
    if !levels.iter().any(|lanes| missing(run, *lanes)) || !run.ready(Phase::Speed, end, "speed").await? {
        return Ok(());
    }
    for (place, lanes) in levels.iter().enumerate() {
        if !missing(run, *lanes) {
            continue;
        }
        // The speed that counts is that of all slots: it has half of the time.
        let last = place + 1 == levels.len();
        let parts = if last { 1 } else { 2 * (levels.len() - place) as u32 - 1 };
        let part_end = run.budget.part_end(Phase::Speed, parts);
        level(run, *lanes, part_end).await?;
    }
    Ok(())
}

/// 1, 2, 4 … and all of them.
fn levels(slots: u32) -> Vec<u32> {
    let mut levels: Vec<u32> = std::iter::successors(Some(1_u32), |lanes| lanes.checked_mul(2))
        .take_while(|lanes| *lanes < slots)
        .collect();
    levels.push(slots.max(1));
    levels
}

async fn level(run: &mut Run<'_>, lanes: u32, end: Instant) -> Result<(), Error> {
    let what = format!("speed with {lanes} {} busy", if lanes == 1 { "lane" } else { "lanes" });
    run.show(Phase::Speed, &what);
    let reused = run.log.reuses().filter(|reuse| reuse.batch == 0 && reuse::is_reused(reuse));
    let prefix = reused.map(|reuse| reuse.prefix).min_by_key(|prefix| prefix.abs_diff(PREFIX));
    let room = run.working_context();
    let bench = Bench {
        engine: run.engine(),
        model: run.model.name.clone(),
        set: run.working().reload_set(),
        prefix: prefix.unwrap_or(PREFIX).min(room / 4),
        prefix_is_reused: prefix.is_some(),
        lanes,
    };
    let mut benches: Vec<Lane> = (0..lanes).map(|_| Lane::new(&mut run.words, bench.prefix)).collect();
    let warming = attempt(Phase::Speed, end, bench.warm(&mut benches));
    let Some(pace) = run.settle(Phase::Speed, warming.await?, &what)? else { return Ok(()) };
    let left = end.saturating_duration_since(Instant::now()).as_secs_f64();
    let workloads = fitting(pace, left, room.saturating_sub(bench.prefix));
    let mut kept = 0;
    while kept < BURSTS && (kept == 0 || Instant::now() < end) {
        run.show(Phase::Speed, &what);
        match attempt(Phase::Speed, end, bench.burst(&mut benches, &workloads)).await? {
            Attempt::Over if kept > 0 => return Ok(()),
            other => match run.settle(Phase::Speed, other, &what)? {
                Some(trials) => {
                    run.keep(Measurement::Burst(Burst { lanes, trials }))?;
                }
                None => return Ok(()),
            },
        }
        kept += 1;
    }
    Ok(())
}

/// The workloads, made smaller until two bursts are expected to end within `left` seconds, and without those
/// that do not fit `room` tokens.
fn fitting(pace: Pace, left: f64, room: u64) -> Vec<Workload> {
    let scaled = |halvings: u32| WORKLOADS.map(|workload| workload.halved(halvings));
    let takes = |workloads: &[Workload]| {
        let each = workloads
            .iter()
            .map(|workload| pace.prompt * workload.own as f64 + pace.answer * workload.answer as f64);
        // Lanes that are done go on until the last is.
        each.sum::<f64>() * f64::from(REQUESTS + 1)
    };
    let halvings = (0..HALVINGS).find(|halvings| takes(&scaled(*halvings)) * 2.0 <= left).unwrap_or(HALVINGS);
    let fits = |workload: &Workload| (workload.own * 5 / 4) + workload.answer + 64 <= room;
    scaled(halvings).into_iter().filter(fits).collect()
}

// === impl Workload ===

impl Workload {
    fn halved(self, times: u32) -> Self {
        Self { own: (self.own >> times).max(8), answer: (self.answer >> times).max(4) }
    }
}

// === impl Bench ===

impl Bench {
    /// Every lane's prefix is evaluated; says how fast that went, roughly.
    async fn warm(&self, lanes: &mut Vec<Lane>) -> Result<Pace, Failure> {
        let small = Workload { own: 32, answer: 16 };
        let cold = mean(&self.run(lanes, small, 1).await?);
        let warm = mean(&self.run(lanes, small, 1).await?);
        let more = (cold.evaluated - warm.evaluated).max(1.0);
        let prompt = ((cold.seconds - warm.seconds) / more).max(0.0);
        let answer = (warm.seconds - prompt * warm.evaluated).max(0.0) / warm.answered.max(1.0);
        Ok(Pace { prompt, answer })
    }

    /// Every workload in turn.
    async fn burst(&self, lanes: &mut Vec<Lane>, workloads: &[Workload]) -> Result<Vec<Trial>, Failure> {
        let mut trials = Vec::new();
        for workload in workloads {
            trials.extend(self.run(lanes, *workload, REQUESTS).await?);
        }
        Ok(trials)
    }

    /// `requests` of a kind on each lane, all lanes busy until the last has done its own.
    async fn run(
        &self,
        lanes: &mut Vec<Lane>,
        workload: Workload,
        requests: u32,
    ) -> Result<Vec<Trial>, Failure> {
        let busy = Arc::new(AtomicU32::new(self.lanes));
        let mut running = JoinSet::new();
        for mut lane in lanes.drain(..) {
            let (bench, busy) = (self.clone(), Arc::clone(&busy));
            running.spawn(async move {
                let trials = bench.lane(&mut lane, workload, requests, &busy).await;
                (lane, trials)
            });
        }
        let mut all = Vec::new();
        while let Some(ended) = running.join_next().await {
            // A panic is a defect that the next line of the log names; nothing here panics.
            let Ok((lane, trials)) = ended else { continue };
            lanes.push(lane);
            all.extend(trials?);
        }
        Ok(all)
    }

    async fn lane(
        &self,
        lane: &mut Lane,
        workload: Workload,
        requests: u32,
        busy: &AtomicU32,
    ) -> Result<Vec<Trial>, Failure> {
        let mut trials = Vec::new();
        loop {
            let trial = self.request(lane, workload).await?;
            if trials.len() < requests as usize {
                trials.push(trial);
                if trials.len() == requests as usize {
                    busy.fetch_sub(1, Relaxed);
                }
            }
            if busy.load(Relaxed) == 0 {
                return Ok(trials);
            }
        }
    }

    async fn request(&self, lane: &mut Lane, workload: Workload) -> Result<Trial, Failure> {
        let (text, seed) = (lane.words.task(workload.own), lane.words.seed());
        let both = [("system", lane.shared.as_str()), ("user", text.as_str())];
        let chat = if lane.shared.is_empty() { &both[1..] } else { &both };
        let target = Target { engine: &*self.engine, model: &self.model, set: self.set };
        let answered = target.ask(&Question { chat, answer: workload.answer, seed }).await?;
        Ok(Trial {
            evaluated: self.evaluated(&answered, workload),
            answered: answered.answer.unwrap_or(0) as f64,
            seconds: answered.took.as_secs_f64(),
        })
    }

    /// Prompt tokens that were evaluated: as counted, else what is not the prefix where that is reused.
    fn evaluated(&self, answered: &Answered, workload: Workload) -> f64 {
        let prompt = answered.prompt.unwrap_or(workload.own + self.prefix);
        let cached = answered.cached.unwrap_or(if self.prefix_is_reused { self.prefix } else { 0 });
        prompt.saturating_sub(cached) as f64
    }
}

fn mean(trials: &[Trial]) -> Trial {
    let of = |part: fn(&Trial) -> f64| trials.iter().map(part).sum::<f64>() / trials.len().max(1) as f64;
    Trial {
        evaluated: of(|trial| trial.evaluated),
        answered: of(|trial| trial.answered),
        seconds: of(|trial| trial.seconds),
    }
}

// === impl Lane ===

impl Lane {
    fn new(words: &mut Words, prefix: u64) -> Self {
        let shared = if prefix > 0 { words.text(prefix) } else { String::new() };
        Self { words: words.another(), shared }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_double_up_to_all_slots() {
        assert_eq!(levels(1), [1]);
        assert_eq!(levels(2), [1, 2]);
        assert_eq!(levels(6), [1, 2, 4, 6]);
        assert_eq!(levels(8), [1, 2, 4, 8]);
        assert_eq!(levels(0), [1]);
    }

    #[test]
    fn a_slow_engine_gets_smaller_requests_and_a_short_context_fewer() {
        let fast = Pace { prompt: 0.001, answer: 0.01 };
        assert_eq!(fitting(fast, 60.0, 4_096), WORKLOADS);
        let slow = Pace { prompt: 0.2, answer: 1.0 };
        assert_eq!(fitting(slow, 60.0, 4_096)[1], WORKLOADS[1].halved(HALVINGS));
        assert_eq!(fitting(fast, 60.0, 300).len(), 3);
        let free = Pace { prompt: 0.0, answer: 0.0 };
        assert_eq!(fitting(free, 0.0, 4_096), WORKLOADS, "an engine that takes no time");
    }
}
