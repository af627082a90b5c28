use caravan_proto::v1;

use super::valid;

/// A slot's context is padded to a multiple of this by llama.cpp.
const PAD: i64 = 256;

/// Lowers the largest contexts of an engine's models to what was measured to be safe on it. So no chunk
/// is planned, leased or loaded for more.
pub(crate) fn cap(engine: &mut v1::Engine, profiles: &[v1::Profile]) {
    let safe = |model: &v1::Model| safe_context(valid(profiles, engine, model)?, engine.slots);
    let safe: Vec<Option<i64>> = engine.models.iter().map(safe).collect();
    for (model, safe) in engine.models.iter_mut().zip(safe) {
        model.max_context = match safe {
            Some(safe) if model.max_context > 0 => safe.min(model.max_context),
            Some(safe) => safe,
            None => model.max_context,
        };
    }
}

/// The context of one slot that is safe with so many slots: together they take what the measured slots took,
/// and each no more than was measured: an engine that drives fewer lanes may still have all its slots.
/// Without a line through the memory, what was measured holds for any number of slots. None if it is
/// not known.
fn safe_context(profile: &v1::Profile, slots: i32) -> Option<i64> {
    let measured = Some(profile.max_context).filter(|context| *context > 0)?;
    let fit = profile.memory.as_ref().filter(|fit| fit.token_bytes > 0.0 && slots != profile.slots);
    let Some(fit) = fit else { return Some(measured) };
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 tokens")]
    let slot = fit.slot_bytes + measured as f64 * fit.token_bytes;
    let share = slot * f64::from(profile.slots) / f64::from(slots.max(1));
    #[expect(clippy::cast_possible_truncation, reason = "the cast saturates")]
    let tokens = ((share - fit.slot_bytes) / fit.token_bytes) as i64;
    Some((tokens / PAD * PAD).min(measured).max(PAD))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> v1::Profile {
        let memory = v1::MemoryFit { slot_bytes: 1_000.0, token_bytes: 10.0, ..Default::default() };
        v1::Profile {
            model: "m".into(),
            slots: 4,
            max_context: 8_192,
            model_context: 32_768,
            memory: Some(memory),
            ..Default::default()
        }
    }

    #[test]
    fn slots_share_what_was_measured() {
        assert_eq!(safe_context(&profile(), 4), Some(8_192));
        // (4 × 82,920 ÷ 8 − 1,000) ÷ 10 = 4,046.
        assert_eq!(safe_context(&profile(), 8), Some(3_840));
        assert_eq!(safe_context(&profile(), 2), Some(8_192), "never more than was measured");
        assert_eq!(safe_context(&profile(), 4_000), Some(PAD));
        assert_eq!(safe_context(&v1::Profile { model_context: 0, ..profile() }, 1), Some(8_192));
        assert_eq!(safe_context(&v1::Profile { memory: None, ..profile() }, 64), Some(8_192));
    }

    #[test]
    fn a_context_that_was_not_measured_caps_nothing() {
        assert_eq!(safe_context(&v1::Profile { max_context: 0, ..profile() }, 2), None);
    }

    #[test]
    fn the_smaller_of_measured_and_told_holds() {
        let model =
            |name: &str, max_context| v1::Model { name: name.into(), max_context, ..Default::default() };
        let models = vec![model("m", 131_072), model("other", 131_072)];
        let mut engine = v1::Engine { slots: 4, models, ..Default::default() };
        cap(&mut engine, &[profile()]);
        assert_eq!(engine.models, [model("m", 8_192), model("other", 131_072)]);
        engine.models = vec![model("m", 0), model("m", 4_096)];
        cap(&mut engine, &[profile()]);
        assert_eq!(engine.models, [model("m", 8_192), model("m", 4_096)]);
    }
}
