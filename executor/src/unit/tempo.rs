//! How fast an engine runs its models, from its own answers, and how long a request may take by that.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::engine::{Timings, bare};

/// Samples of one figure that are kept: the last minutes of a busy engine.
const KEPT: usize = 64;
/// Fewer answers than these say nothing yet: of ten, one is the tail.
const ENOUGH: usize = 10;
/// The share of samples that a figure covers: the slowest tenth is what other slots' prompts do to a
/// request, which the factor of a deadline is for.
const SHARE: f64 = 0.9;
/// Fewer tokens than these are more overhead than tokens: their time is counted as such.
const TELLING: u64 = 16;
/// Models that are remembered; with more, the ones measured before are forgotten.
const MOST_MODELS: usize = 64;

/// Seconds a token of prompts and of answers, and what a request takes beside them, by model.
/// Robust against single samples; nothing is said before there are enough of them.
#[derive(Debug, Default)]
pub(crate) struct Tempo {
    models: Mutex<HashMap<String, Measured>>,
}

/// What a request asks for, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Work {
    /// Of the prompt, all of which may have to be evaluated.
    pub(crate) prompt: u64,
    /// Most that the answer may have; absent if there is no limit that is known.
    pub(crate) answer: Option<u64>,
}

/// One answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered {
    /// Prompt tokens that were evaluated.
    pub(crate) evaluated: u64,
    /// Tokens of the answer.
    pub(crate) answer: u64,
    /// From sending to having it.
    pub(crate) took: Duration,
    /// As the engine took it.
    pub(crate) timings: Timings,
}

/// How long a request takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expected {
    /// With an answer as long as most were.
    pub(crate) usual: Duration,
    /// With the longest answer that it may have.
    pub(crate) longest: Duration,
}

#[derive(Debug, Default)]
struct Measured {
    /// Seconds of an evaluated token.
    prompt: Samples,
    /// Seconds of an answer's token.
    answer: Samples,
    /// Seconds beside those: waiting for a slot, the template, the wire.
    beside: Samples,
    /// Tokens of answers.
    length: Samples,
}

#[derive(Debug, Default)]
struct Samples(VecDeque<f64>);

// === impl Tempo ===

impl Tempo {
    /// `model` answered.
    pub(crate) fn observe(&self, model: &str, answered: Answered) {
        let mut models = self.lock();
        if models.len() >= MOST_MODELS && !models.contains_key(bare(model)) {
            models.clear();
        }
        models.entry(bare(model).to_owned()).or_default().observe(answered);
    }

    /// How long `work` takes on `model`; none while too little is known.
    pub(crate) fn expected(&self, model: &str, work: Work) -> Option<Expected> {
        self.lock().get(bare(model))?.expected(work)
    }

    /// Seconds that an evaluated token of `model` usually takes; none while too little is known.
    pub(crate) fn prompt_seconds(&self, model: &str) -> Option<f64> {
        self.lock().get(bare(model))?.prompt.quantile(0.5)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Measured>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Measured ===

impl Measured {
    /// An engine that tells no times leaves all of them to both kinds of tokens: too slow, which
    /// makes a deadline later, not earlier.
    fn observe(&mut self, Answered { evaluated, answer, took, timings }: Answered) {
        let prompt = timings.prompt.unwrap_or(took);
        let generated = timings.answer.unwrap_or(took);
        let mut known = timings.load.unwrap_or_default();
        if evaluated >= TELLING {
            self.prompt.push(prompt.as_secs_f64() / tokens(evaluated));
            known += prompt;
        }
        if answer >= TELLING {
            self.answer.push(generated.as_secs_f64() / tokens(answer));
            known += generated;
        }
        self.beside.push(took.saturating_sub(known).as_secs_f64());
        self.length.push(tokens(answer));
    }

    fn expected(&self, work: Work) -> Option<Expected> {
        if self.length.0.len() < ENOUGH {
            return None;
        }
        let beside = self.beside.quantile(SHARE)?;
        // Cold prompts are rare where prefixes are shared, and each is an average over its tokens.
        let prompt = self.prompt.quantile(SHARE)? * tokens(work.prompt);
        // Answers that are all too short to tell take no time worth counting.
        let each = self.answer.quantile(SHARE).unwrap_or_default();
        let usual = self.length.quantile(SHARE)?;
        let longest = work.answer.map(tokens);
        let time = |length: f64| Duration::try_from_secs_f64(beside + prompt + each * length).ok();
        Some(Expected {
            usual: time(longest.map_or(usual, |longest| usual.min(longest)))?,
            longest: longest.and_then(time).unwrap_or(Duration::MAX),
        })
    }
}

// === impl Samples ===

impl Samples {
    fn push(&mut self, sample: f64) {
        if self.0.len() >= KEPT {
            self.0.pop_front();
        }
        self.0.push_back(sample);
    }

    /// What this share of the samples does not exceed.
    fn quantile(&self, share: f64) -> Option<f64> {
        let mut sorted: Vec<f64> = self.0.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index below KEPT"
        )]
        let place = (sorted.len().saturating_sub(1) as f64 * share).ceil() as usize;
        sorted.get(place).copied()
    }
}

#[expect(clippy::cast_precision_loss, reason = "tokens of a request are far below 2^52")]
fn tokens(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(evaluated: u64, answer: u64, millis: [u64; 3]) -> Answered {
        let [prompt, generated, took] = millis.map(Duration::from_millis);
        let timings = Timings { load: None, prompt: Some(prompt), answer: Some(generated) };
        Answered { evaluated, answer, took, timings }
    }

    fn seconds(expected: Option<Expected>) -> Option<(f64, f64)> {
        let round = |time: Duration| (time.as_secs_f64() * 100.0).round() / 100.0;
        expected.map(|expected| (round(expected.usual), round(expected.longest)))
    }

    #[test]
    fn nothing_is_said_before_there_is_enough_to_go_by() {
        let (tempo, work) = (Tempo::default(), Work { prompt: 1_000, answer: Some(200) });
        for _ in 1..ENOUGH {
            tempo.observe("m", answered(1_000, 100, [1_000, 2_000, 3_100]));
            assert_eq!(tempo.expected("m", work), None);
        }
        tempo.observe("m", answered(1_000, 100, [1_000, 2_000, 3_100]));
        assert_eq!(seconds(tempo.expected("m:latest", work)), Some((3.1, 5.1)));
        assert_eq!(tempo.expected("other", work), None);
    }

    #[test]
    fn one_slow_answer_in_ten_does_not_move_it() {
        let (tempo, work) = (Tempo::default(), Work { prompt: 100, answer: Some(100) });
        for number in 0..KEPT * 2 {
            let slow = if number % 11 == 0 { 50 } else { 1 };
            tempo.observe("m", answered(100, 100, [100 * slow, 1_000 * slow, 1_100 * slow]));
        }
        assert_eq!(seconds(tempo.expected("m", work)), Some((1.1, 1.1)));
    }

    #[test]
    fn what_a_slot_is_waited_for_is_counted_beside_the_tokens() {
        let tempo = Tempo::default();
        for _ in 0..ENOUGH {
            tempo.observe("m", answered(100, 50, [100, 500, 5_600]));
        }
        let expected = tempo.expected("m", Work { prompt: 0, answer: Some(0) });
        assert_eq!(seconds(expected), Some((5.0, 5.0)));
    }

    #[test]
    fn a_warm_prompt_says_nothing_of_the_speed_of_a_cold_one() {
        let tempo = Tempo::default();
        (0..ENOUGH).for_each(|_| tempo.observe("m", answered(1_000, 50, [1_000, 500, 1_500])));
        (0..KEPT).for_each(|_| tempo.observe("m", answered(5, 50, [50, 500, 550])));
        let expected = tempo.expected("m", Work { prompt: 2_000, answer: None });
        assert_eq!(seconds(expected).map(|(usual, _)| usual), Some(2.55));
        assert_eq!(expected.map(|expected| expected.longest), Some(Duration::MAX));
    }

    #[test]
    fn an_engine_that_tells_no_times_is_taken_for_slower_than_it_is() {
        let tempo = Tempo::default();
        let took = Duration::from_secs(2);
        let answered = Answered { evaluated: 100, answer: 100, took, timings: Timings::default() };
        (0..ENOUGH).for_each(|_| tempo.observe("m", answered));
        assert_eq!(seconds(tempo.expected("m", Work { prompt: 100, answer: Some(100) })), Some((4.0, 4.0)));
    }
}
