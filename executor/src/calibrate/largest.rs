//! The largest context that is safe: predicted, then loaded, then filled.

use tokio::time::Instant;

use super::{
    Error, Phase,
    ask::Question,
    attempt::{Attempt, attempt},
    formula::PAD,
    measurement::Load,
    room::Room,
    run::{Run, sentence},
    stage::Setting,
};
use crate::engine::{Class, Failure};

/// Loads that are tried: each that is refused teaches the line.
const TRIES: u32 = 5;
/// A refused context is followed by one that is smaller by at least so much.
const SMALLER: f64 = 0.9;
/// The part of a context that the worst-case request fills: texts come out longer than meant.
const FILLED: f64 = 0.9;

/// Confirms by loads, the largest first.
pub(super) async fn measure(run: &mut Run<'_>) -> Result<(), Error> {
    let slots = run.best_slots();
    if let Room::NotKnown(why) = run.room() {
        run.note(why);
    }
    let end = run.budget.end(Phase::Largest);
    let mut bound = u64::MAX;
    for _ in 0..TRIES {
        let Some(context) = candidate(run, slots, bound) else { break };
        let setting = Setting { slots, context, batch: 0 };
        if known_safe(run, setting).is_some_and(|load| load.filled) {
            return Ok(());
        }
        let what = format!("whether {slots} slots of {context} tokens are safe");
        run.show(Phase::Largest, &what);
        let load = match run.set(Phase::Largest, end, setting).await? {
            Attempt::Done(()) => run.weigh(setting, false).await?,
            Attempt::Refused(failure) => run.refuse(setting, &failure.message)?,
            Attempt::Over => {
                run.leave_out(what);
                return Ok(());
            }
        };
        if load.is_safe() && fill(run, setting, end).await? {
            return Ok(());
        }
        bound = smaller(run, &load);
    }
    run.note(format!("No context larger than those measured was found to be safe with {slots} slots."));
    Ok(())
}

/// What to try at most after a load that was refused. One that was split has shown how much fits.
fn smaller(run: &Run<'_>, refused: &Load) -> u64 {
    let less = (refused.context as f64 * SMALLER) as u64;
    let fits = refused.reading.is_split().then_some(refused.reading.size_vram);
    let fitting = run.line().zip(fits).and_then(|(line, fits)| line.largest_context(refused.slots, fits));
    fitting.map_or(less, |fitting| fitting.min(less))
}

/// The largest context that the line predicts to fit, below `bound`; none if that is not larger than what
/// is known to be safe and filled.
fn candidate(run: &Run<'_>, slots: u32, bound: u64) -> Option<u64> {
    let limit = run.limit().unwrap_or(u64::MAX).min(bound);
    if !run.stage.sets_context() {
        return run.limit().filter(|context| *context <= bound);
    }
    let predicted = match (run.line(), run.room()) {
        (Some(line), Room::Vram(room) | Room::Host(room)) if line.token > 0.0 => {
            line.largest_context(slots, room)?
        }
        // A load that does not fit is split, which is seen.
        (_, Room::NotKnown(_)) if run.limit().is_some() && run.is_on_gpu() => limit,
        // What nothing bounds is not tried: the largest that was loaded holds.
        _ => run.log.loads().filter(|load| load.is_safe()).map(|load| load.context).max()?,
    };
    let context = predicted.min(limit);
    let whole = if context == limit { context } else { context / PAD * PAD };
    (whole > 0).then_some(whole)
}

fn known_safe<'r>(run: &'r Run<'_>, setting: Setting) -> Option<&'r Load> {
    let mut loads = run.log.loads().rev();
    loads.find(|load| load.is_of(setting.slots, setting.context, setting.batch)).filter(|load| load.is_safe())
}

/// Fills one slot's context with a request, because buffers may be allocated late: whether it is safe then.
/// What there is no time for is left out, and what was loaded counts.
async fn fill(run: &mut Run<'_>, setting: Setting, end: Instant) -> Result<bool, Error> {
    let tokens = (setting.context as f64 * FILLED) as u64;
    let what = format!("a request that fills a context of {} tokens", setting.context);
    let fastest = run.log.bursts().flat_map(|burst| &burst.trials);
    let fastest = fastest.map(|trial| trial.evaluated / trial.seconds).fold(0.0, f64::max);
    let left = end.saturating_duration_since(Instant::now()).as_secs_f64();
    if fastest > 0.0 && tokens as f64 / fastest > left {
        run.leave_out(what);
        return Ok(true);
    }
    run.show(Phase::Largest, &what);
    match attempt(Phase::Largest, end, ask(run, setting, tokens)).await? {
        Attempt::Done(()) => Ok(run.weigh(setting, true).await?.is_safe()),
        // Longer than meant, and so refused before anything was allocated.
        Attempt::Refused(failure) if failure.class == Class::Request => {
            run.note(format!("Not tried: {what}. {}", sentence(&failure.message)));
            Ok(true)
        }
        Attempt::Refused(failure) => Ok(run.refuse(setting, &failure.message)?.is_safe()),
        Attempt::Over => {
            run.leave_out(what);
            Ok(true)
        }
    }
}

async fn ask(run: &mut Run<'_>, setting: Setting, tokens: u64) -> Result<(), Failure> {
    let (text, seed) = (run.words.text(tokens), run.words.seed());
    let engine = run.engine();
    let target = run.target(&*engine, setting);
    target.ask(&Question { chat: &[("user", &text)], answer: 4, seed }).await.map(|_| ())
}
