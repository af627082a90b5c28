//! Memory at several (slots, context).

use super::{
    Error, Phase,
    attempt::Attempt,
    measurement::Load,
    room::{Room, gib},
    run::Run,
    stage::Setting,
};

/// Loads at every context of the ladder that is predicted to fit, and with fewer slots at its ends.
pub(super) async fn measure(run: &mut Run<'_>) -> Result<(), Error> {
    let contexts = run.contexts();
    if contexts.len() < 2 {
        run.note(
            "Memory was read at one context only, for this engine's cannot be changed: what a token takes is \
             what the formula says, if it applies.",
        );
    }
    for (place, setting) in settings(&run.stage.slots(), &contexts).into_iter().enumerate() {
        let mut loads = run.log.loads();
        let known = loads.find(|load| load.is_of(setting.slots, setting.context, setting.batch));
        let known = known.map(Load::is_safe);
        drop(loads);
        let safe = match known {
            Some(safe) => safe,
            None if place > 0 && !is_predicted_to_fit(run, setting) => false,
            None => match load(run, setting).await? {
                Some(safe) => safe,
                None => break,
            },
        };
        if !safe && setting.slots == run.most_slots() {
            // Larger ones take more.
            break;
        }
    }
    Ok(())
}

/// The most slots at every context, then fewer at the ends.
fn settings(slots: &[u32], contexts: &[u64]) -> Vec<Setting> {
    let at = |slots: u32, context: u64| Setting { slots, context, batch: 0 };
    let Some((most, fewer)) = slots.split_last() else { return Vec::new() };
    let mut settings: Vec<_> = contexts.iter().map(|context| at(*most, *context)).collect();
    // One slot and half of them tell a slot's own part; every further number would cost a start.
    let fewer = [fewer.first(), fewer.last()].into_iter().flatten();
    let ends = [contexts.first(), contexts.last().filter(|_| contexts.len() > 1)].into_iter().flatten();
    settings.extend(fewer.flat_map(|slots| ends.clone().map(|context| at(*slots, *context))));
    settings.dedup();
    settings
}

fn is_predicted_to_fit(run: &mut Run<'_>, setting: Setting) -> bool {
    let room = run.room();
    let Some((line, most)) = run.line().zip(room.bytes()) else { return true };
    let predicted = line.bytes(setting.slots, setting.context);
    if predicted <= most as f64 {
        return true;
    }
    let Setting { slots, context, .. } = setting;
    let kind = if matches!(room, Room::Vram(_)) { "VRAM" } else { "host memory" };
    run.note(format!(
        "Not loaded with {slots} slots of {context}: {} are predicted, {} of {kind} may be taken.",
        gib(predicted as u64),
        gib(most)
    ));
    false
}

/// Loads and weighs: whether it may be used; none if the time is over.
async fn load(run: &mut Run<'_>, setting: Setting) -> Result<Option<bool>, Error> {
    let Setting { slots, context, .. } = setting;
    let what = format!("memory with {slots} slots of {context} tokens");
    run.show(Phase::Memory, &what);
    let end = run.budget.end(Phase::Memory);
    match run.set(Phase::Memory, end, setting).await? {
        Attempt::Done(()) => Ok(Some(run.weigh(setting, false).await?.is_safe())),
        Attempt::Refused(failure) => Ok(Some(run.refuse(setting, &failure.message)?.is_safe())),
        Attempt::Over => {
            run.leave_out(what);
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_vary_at_the_ends_only() {
        let of = |slots: &[u32], contexts: &[u64]| {
            let settings = settings(slots, contexts);
            settings.iter().map(|at| (at.slots, at.context)).collect::<Vec<_>>()
        };
        assert_eq!(of(&[4], &[1, 2, 3]), [(4, 1), (4, 2), (4, 3)]);
        assert_eq!(of(&[1, 2, 4], &[1, 2, 3]), [(4, 1), (4, 2), (4, 3), (1, 1), (1, 3), (2, 1), (2, 3)]);
        assert_eq!(of(&[1, 2], &[5]), [(2, 5), (1, 5)]);
        assert_eq!(of(&[], &[5]), []);
    }
}
