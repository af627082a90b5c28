use crate::{Fleet, Limits, Micros};

/// What a token costs one lane: nanoseconds where the speeds are known, else thousandths of a
/// prompt token. Integers, so that sums do not depend on their order; sums saturate at 584 years.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    prompt: u64,
    answer: u64,
    known: bool,
}

const NANOS_PER_SECOND: f64 = 1e9;
const NANOS_PER_MICRO: u64 = 1_000;
/// Work of a prompt token where the speed is not known.
const PROMPT_WEIGHT: u64 = 1_000;

impl Pace {
    pub(crate) fn of(fleet: &Fleet, limits: &Limits) -> Self {
        let speeds = (fleet.prefill_tokens_per_second, fleet.decode_tokens_per_second);
        match speeds {
            (Some(prefill), Some(decode)) if is_speed(prefill) && is_speed(decode) => {
                Self { prompt: nanos(prefill), answer: nanos(decode), known: true }
            }
            _ => {
                let answer = limits.answer_weight.of(PROMPT_WEIGHT).max(1);
                Self { prompt: PROMPT_WEIGHT, answer, known: false }
            }
        }
    }

    pub(crate) fn known(&self) -> bool {
        self.known
    }

    pub(crate) fn work(&self, prompt_tokens: u64, answer_tokens: u64) -> u64 {
        let prompt = self.prompt.saturating_mul(prompt_tokens);
        prompt.saturating_add(self.answer.saturating_mul(answer_tokens))
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

fn is_speed(tokens_per_second: f64) -> bool {
    tokens_per_second.is_finite() && tokens_per_second > 0.0
}

fn nanos(tokens_per_second: f64) -> u64 {
    // The cast saturates; no token is free.
    ((NANOS_PER_SECOND / tokens_per_second).round() as u64).max(1)
}
