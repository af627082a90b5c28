use crate::{Fleet, Limits, Micros, Speed};

/// What a token and a request cost one lane: nanoseconds where the speeds are known, else thousandths
/// of a prompt token. Integers, so that sums do not depend on their order; sums saturate at 584 years.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    prompt: u64,
    answer: u64,
    /// Of a request beyond its tokens.
    request: u64,
    known: bool,
}

const NANOS_PER_SECOND: f64 = 1e9;
const NANOS_PER_MICRO: u64 = 1_000;
/// Work of a prompt token where the speed is not known.
const PROMPT_WEIGHT: u64 = 1_000;

impl Pace {
    /// Of one lane while `busy` lanes are at work.
    pub(crate) fn of(fleet: &Fleet, busy: u32, limits: &Limits) -> Self {
        let speeds = &fleet.speeds;
        let speed = speeds.iter().find(|speed| busy <= speed.lanes).or(speeds.last());
        match speed.filter(|speed| is_known(speed)) {
            Some(speed) => Self {
                // No token is free.
                prompt: nanos(speed.prompt_seconds).max(1),
                answer: nanos(speed.answer_seconds).max(1),
                request: nanos(speed.request_seconds),
                known: true,
            },
            None => {
                let answer = limits.answer_weight.of(PROMPT_WEIGHT).max(1);
                Self { prompt: PROMPT_WEIGHT, answer, request: 0, known: false }
            }
        }
    }

    pub(crate) fn known(&self) -> bool {
        self.known
    }

    /// Of so many requests with so many tokens in all.
    pub(crate) fn work(&self, requests: u64, prompt_tokens: u64, answer_tokens: u64) -> u64 {
        let request = self.request.saturating_mul(requests);
        let prompt = self.prompt.saturating_mul(prompt_tokens);
        request.saturating_add(prompt).saturating_add(self.answer.saturating_mul(answer_tokens))
    }

    /// Work that a lane does in `time`, if its speed is known.
    pub(crate) fn work_in(&self, time: Micros) -> Option<u64> {
        self.known.then_some(time.0.saturating_mul(NANOS_PER_MICRO))
    }

    /// Time of `work`, rounded up, if the speed is known.
    pub(crate) fn time_of(&self, work: u64) -> Option<Micros> {
        self.known.then_some(Micros(work.div_ceil(NANOS_PER_MICRO)))
    }
}

fn is_known(speed: &Speed) -> bool {
    let times = [speed.prompt_seconds, speed.answer_seconds, speed.request_seconds];
    times.iter().all(|seconds| seconds.is_finite() && *seconds >= 0.0)
}

/// The cast saturates.
fn nanos(seconds: f64) -> u64 {
    (seconds * NANOS_PER_SECOND).round() as u64
}
