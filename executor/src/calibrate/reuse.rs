//! Whether a shared prefix is evaluated once, at several lengths of prefix and own part.

use caravan_proto::v1::{Basis, ReusePoint};
use tokio::time::Instant;

use super::{
    Error, Phase,
    ask::{Answered, Question},
    attempt::{Attempt, attempt},
    measurement::{Measurement, Reuse},
    run::{Run, sentence},
    stage::Setting,
};
use crate::engine::Failure;

/// Prefixes that batches have: from a short instruction to a long system prompt, on both sides of the
/// windows of 512 and 1,024 tokens that models have.
const PREFIXES: [u64; 4] = [128, 512, 1_024, 2_400];
/// A short own part, tried with every prefix.
const SHORT: u64 = 64;
/// One above the 512 tokens that engines evaluate at once unless told otherwise: where attention has a window
/// reuse depends on it, so that it is tried with every prefix then, and once elsewhere.
const LONG: u64 = 640;
const LONG_ONCE_AFTER: u64 = 1_024;
/// Warm prompts after each cold one, of which the worse counts.
const WARM: usize = 2;
/// Answer tokens: a reuse that depends on what was generated shows after some.
const ANSWER: u64 = 8;
/// The part of a prefix that must come from the cache for it to count as reused.
const REUSED: f64 = 0.75;
/// `num_batch` that is tried where a window prevents reuse: the least that is above the own part.
const LARGER_BATCHES: [u64; 2] = [1_024, 2_048];

/// Tests every length that fits the working context.
pub(super) async fn measure(run: &mut Run<'_>) -> Result<(), Error> {
    let lengths = lengths(run.working_context(), run.model.sliding_window.is_some());
    if lengths.is_empty() {
        run.note("Prefix reuse was not tested: the context is too short.");
    }
    let setting = run.working();
    test(run, setting, &lengths).await?;
    if run.stage.sets_context() && run.model.sliding_window.is_some() {
        larger_batch(run).await?;
    }
    Ok(())
}

/// (prefix, own part) in tokens, what is soon done first.
fn lengths(context: u64, has_window: bool) -> Vec<(u64, u64)> {
    // Room for the template, and for texts that come out longer than meant.
    let fits = |(prefix, own): &(u64, u64)| (prefix + own) * 5 / 4 + ANSWER + 64 <= context;
    let short = PREFIXES.map(|prefix| (prefix, SHORT));
    let long = PREFIXES.into_iter().filter(|prefix| has_window || *prefix == LONG_ONCE_AFTER);
    short.into_iter().chain(long.map(|prefix| (prefix, LONG))).filter(fits).collect()
}

async fn test(run: &mut Run<'_>, setting: Setting, lengths: &[(u64, u64)]) -> Result<(), Error> {
    let is_known = |run: &Run<'_>, (prefix, own): (u64, u64)| {
        run.log.reuses().any(|known| (known.prefix, known.own, known.batch) == (prefix, own, setting.batch))
    };
    let open: Vec<_> = lengths.iter().copied().filter(|length| !is_known(run, *length)).collect();
    let Some(first) = open.first() else { return Ok(()) };
    let end = run.budget.end(Phase::Reuse);
    let loaded = run.set(Phase::Reuse, end, setting).await?;
    if let Attempt::Refused(failure) = loaded {
        run.note(format!("Prefix reuse was not tested: {}", sentence(&failure.message)));
        return Ok(());
    }
    if matches!(loaded, Attempt::Over) {
        run.leave_out(describe(*first));
        return Ok(());
    }
    for length in open {
        let what = describe(length);
        run.show(Phase::Reuse, &what);
        let tried = attempt(Phase::Reuse, end, point(run, setting, length)).await?;
        if let Some(reuse) = run.settle(Phase::Reuse, tried, &what)? {
            run.keep(Measurement::Reuse(reuse))?;
        }
        if Instant::now() >= end {
            break;
        }
    }
    Ok(())
}

fn describe((prefix, own): (u64, u64)) -> String {
    format!("reuse of a prefix of {prefix} tokens before {own} of its own")
}

/// One cold prompt, then warm ones.
async fn point(run: &mut Run<'_>, setting: Setting, (prefix, own): (u64, u64)) -> Result<Reuse, Failure> {
    let shared = run.words.text(prefix);
    let mut all = Vec::with_capacity(1 + WARM);
    for _ in 0..=WARM {
        let (text, seed) = (run.words.text(own), run.words.seed());
        let engine = run.engine();
        let target = run.target(&*engine, setting);
        let chat = [("system", shared.as_str()), ("user", text.as_str())];
        all.push(target.ask(&Question { chat: &chat, answer: ANSWER, seed }).await?);
    }
    let (cold, warm) = (all[0], &all[1..]);
    if let Some(tokens) = cold.prompt {
        let words = shared.split(' ').count() as u64 + own;
        run.words.learn(words, tokens);
    }
    let counted = warm.iter().all(|answered| answered.cached.is_some());
    let evaluated = median(warm.iter().filter_map(|answered| evaluated(answered, &cold)).collect());
    Ok(Reuse { prefix, own, batch: setting.batch, evaluated, counted })
}

/// Prompt tokens that were evaluated: counted, or from the time beside that of the cold prompt.
fn evaluated(warm: &Answered, cold: &Answered) -> Option<f64> {
    let prompt = warm.prompt?;
    if let Some(cached) = warm.cached {
        return Some(prompt.saturating_sub(cached) as f64);
    }
    let (took, cold_took) = (warm.prompt_time?.as_secs_f64(), cold.prompt_time?.as_secs_f64());
    let tokens = cold.prompt? as f64 * took / cold_took;
    tokens.is_finite().then_some(tokens.min(prompt as f64))
}

pub(super) fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied()
}

/// Tries larger batches where a window may be why there was no reuse.
async fn larger_batch(run: &mut Run<'_>) -> Result<(), Error> {
    let window = run.model.sliding_window.unwrap_or(0);
    for batch in LARGER_BATCHES {
        let lost = |reuse: &&super::measurement::Reuse| {
            let longer_than_window = reuse.prefix > window && reuse.own <= batch;
            longer_than_window && reuse.batch == 0 && !is_reused(reuse)
        };
        let lengths: Vec<_> = run.log.reuses().filter(lost).map(|reuse| (reuse.prefix, reuse.own)).collect();
        let solved = |run: &Run<'_>, length: (u64, u64)| {
            run.log.reuses().any(|reuse| (reuse.prefix, reuse.own) == length && is_reused(reuse))
        };
        let open: Vec<_> = lengths.into_iter().filter(|length| !solved(run, *length)).collect();
        test(run, Setting { batch, ..run.working() }, &open).await?;
    }
    Ok(())
}

/// Whether the prefix came from the cache; not, if nothing tells.
pub(super) fn is_reused(reuse: &Reuse) -> bool {
    let Some(evaluated) = reuse.evaluated else { return false };
    evaluated <= reuse.own as f64 * 1.25 + 64.0 + reuse.prefix as f64 * (1.0 - REUSED)
}

/// Whether windowed layers must keep the whole context: without, no prefix that is no longer than the window
/// is ever reused.
pub(super) fn shows_whole_cache(all: &[&Reuse], window: Option<u64>) -> bool {
    let Some(window) = window else { return false };
    all.iter().any(|reuse| reuse.counted && reuse.prefix <= window && is_reused(reuse))
}

/// Each point with what it needs. `window` is the model's; `can_batch` tells whether an engine takes
/// `num_batch` with a request.
pub(super) fn conclude(
    all: &[&Reuse],
    window: Option<u64>,
    can_batch: bool,
    recurrent: bool,
) -> Vec<ReusePoint> {
    let needs = |reuse: &Reuse| {
        if reuse.evaluated.is_none() {
            return "not known: the engine tells neither what it cached nor how long it took".to_owned();
        }
        if is_reused(reuse) {
            return String::new();
        }
        let same = |other: &&&Reuse| (other.prefix, other.own) == (reuse.prefix, reuse.own);
        if let Some(other) = all.iter().find(|other| same(other) && other.batch > 0 && is_reused(other)) {
            return format!("num_batch {}", other.batch);
        }
        match window {
            Some(window) if reuse.prefix <= window => format!(
                "LLAMA_ARG_SWA_FULL=1: a prefix no longer than the window of {window} tokens is never reused"
            ),
            Some(_) if can_batch => "LLAMA_ARG_SWA_FULL=1".to_owned(),
            Some(_) => "LLAMA_ARG_SWA_FULL=1, or a larger batch than the own part".to_owned(),
            None if recurrent => "none: the state of recurrent layers cannot be rolled back".to_owned(),
            None => "not known: the engine evaluates the prefix again".to_owned(),
        }
    };
    let point = |reuse: &&Reuse| ReusePoint {
        prefix_tokens: reuse.prefix.try_into().unwrap_or(i64::MAX),
        own_tokens: reuse.own.try_into().unwrap_or(i64::MAX),
        batch_tokens: reuse.batch.try_into().unwrap_or(i64::MAX),
        evaluated_tokens: reuse.evaluated.unwrap_or(0.0),
        reused: is_reused(reuse),
        basis: match (reuse.evaluated, reuse.counted) {
            (None, _) => Basis::Unspecified,
            (Some(_), true) => Basis::Measured,
            (Some(_), false) => Basis::Estimated,
        }
        .into(),
        needs: needs(reuse),
    };
    all.iter().map(point).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn reuse(prefix: u64, own: u64, batch: u64, evaluated: f64) -> Reuse {
        Reuse { prefix, own, batch, evaluated: Some(evaluated), counted: true }
    }

    #[test]
    fn only_lengths_that_fit_are_tested() {
        assert_eq!(lengths(256, true), []);
        assert_eq!(lengths(1_024, false), [(128, 64), (512, 64)]);
        assert_eq!(lengths(4_096, true).len(), 8);
        let once = [(128, 64), (512, 64), (1_024, 64), (2_400, 64), (1_024, 640)];
        assert_eq!(lengths(4_096, false), once);
    }

    #[test]
    fn what_a_window_needs_is_said() {
        let points = [
            reuse(128, 64, 0, 200.0),
            reuse(1_024, 64, 0, 70.0),
            reuse(1_024, 640, 0, 1_670.0),
            reuse(1_024, 640, 1_024, 650.0),
            reuse(2_400, 640, 0, 3_050.0),
        ];
        let concluded = conclude(&points.iter().collect::<Vec<_>>(), Some(512), true, false);
        let needs: Vec<_> = concluded.iter().map(|point| point.needs.as_str()).collect();
        assert!(needs[0].contains("no longer than the window of 512"), "{needs:?}");
        assert_eq!(needs[1..], ["", "num_batch 1024", "", "LLAMA_ARG_SWA_FULL=1"]);
        assert_eq!(
            concluded.iter().map(|point| point.reused).collect::<Vec<_>>(),
            [false, true, false, true, false]
        );
    }

    #[test]
    fn a_short_prefix_that_is_reused_shows_the_whole_cache() {
        let (short, long) = (reuse(128, 64, 0, 65.0), reuse(1_024, 64, 0, 65.0));
        assert!(shows_whole_cache(&[&long, &short], Some(512)));
        assert!(!shows_whole_cache(&[&long], Some(512)) && !shows_whole_cache(&[&short], None));
        assert!(!shows_whole_cache(&[&Reuse { counted: false, ..short }], Some(512)));
    }

    #[test]
    fn without_a_count_time_tells_and_without_either_nothing_is_claimed() {
        let seconds = |seconds| Some(Duration::from_secs_f64(seconds));
        let cold = Answered { prompt: Some(1_000), prompt_time: seconds(2.0), ..Answered::default() };
        let warm = Answered { prompt_time: seconds(0.2), ..cold };
        assert!((evaluated(&warm, &cold).unwrap() - 100.0).abs() < 1e-6);
        assert_eq!(evaluated(&Answered { cached: Some(900), ..warm }, &cold), Some(100.0));
        assert_eq!(evaluated(&warm, &Answered { prompt_time: None, ..cold }), None);
        assert_eq!(evaluated(&warm, &Answered { prompt_time: seconds(0.0), ..cold }), None);
        let silent = Reuse { evaluated: None, ..reuse(512, 64, 0, 0.0) };
        let point = &conclude(&[&silent], None, true, false)[0];
        assert_eq!((point.reused, point.basis()), (false, Basis::Unspecified));
        assert!(point.needs.starts_with("not known"));
    }

    #[test]
    fn a_checkpoint_at_the_prefixs_end_counts() {
        assert!(is_reused(&reuse(1_508, 110, 0, 510.0)), "measured on a recurrent model");
        assert!(!is_reused(&reuse(1_508, 640, 0, 2_150.0)));
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(Vec::new()), None);
    }
}
