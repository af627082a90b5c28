use caravan_proto::v1::{self, engine};

/// A field of a profile that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} of the profile must be {wanted}")]
pub struct Wrong {
    /// Which field, e.g. `speeds[2].slots`.
    pub field: String,
    /// What it must be.
    pub wanted: &'static str,
}

/// The versions of the form that can be read; 0 is one written by hand.
const SCHEMAS: std::ops::RangeInclusive<i32> = 0..=1;
/// Bytes of a text at most.
const TEXT: usize = 1_024;
/// Entries of a list at most.
const ENTRIES: usize = 1_024;
/// Slots of an engine at most: vLLM's default is 1,024.
const SLOTS: std::ops::RangeInclusive<i32> = 1..=65_536;

/// Checks every field of a profile that somebody sends.
///
/// # Errors
/// With the first field that is wrong, and what it must be.
pub fn check(profile: &v1::Profile) -> Result<(), Wrong> {
    texts(profile)?;
    let kinds = [engine::Kind::Ollama, engine::Kind::Openai];
    require(kinds.contains(&profile.engine_kind()), "engine_kind", "ollama or openai")?;
    require(
        SCHEMAS.contains(&profile.schema),
        "schema",
        "1, or 0 for one written by hand: update this server",
    )?;
    require(SLOTS.contains(&profile.slots), "slots", "1 to 65,536")?;
    for (field, number) in [
        ("prefill_tokens_per_second", profile.prefill_tokens_per_second),
        ("decode_tokens_per_second", profile.decode_tokens_per_second),
        ("kv_bytes_per_token", profile.kv_bytes_per_token),
    ] {
        require(is_amount(number), field, "above 0, or 0 if not measured")?;
    }
    require(is_amount(profile.request_seconds), "request_seconds", "0 or more")?;
    for (field, count) in [
        ("max_context", profile.max_context),
        ("image_tokens", profile.image_tokens),
        ("batch_tokens", profile.batch_tokens),
        ("vram_ceiling_bytes", profile.vram_ceiling_bytes),
        ("model_context", profile.model_context),
    ] {
        require(count >= 0, field, "above 0, or 0 if not known")?;
    }
    if let Some(template) = &profile.template {
        let least = template.conversation.min(template.system).min(template.exchange);
        require(least >= 0, "template", "tokens, none below 0")?;
    }
    memory(profile)?;
    speeds(profile)?;
    reuse(profile)
}

fn texts(profile: &v1::Profile) -> Result<(), Wrong> {
    require(!profile.model.is_empty(), "model", "the name of a model")?;
    for (field, text) in [
        ("model", &profile.model),
        ("model_digest", &profile.model_digest),
        ("engine_version", &profile.engine_version),
        ("gpu", &profile.gpu),
        ("driver", &profile.driver),
        ("kv_type", &profile.kv_type),
        ("host", &profile.host),
        ("caravan_version", &profile.caravan_version),
    ] {
        let short = text.len() <= TEXT && !text.contains(char::is_control);
        require(short, field, "one line of at most 1,024 bytes")?;
    }
    for (field, texts) in [("notes", &profile.notes), ("left_out", &profile.left_out)] {
        let short = texts.len() <= ENTRIES && texts.iter().all(|text| text.len() <= TEXT);
        require(short, field, "at most 1,024 texts of at most 1,024 bytes")?;
    }
    Ok(())
}

fn memory(profile: &v1::Profile) -> Result<(), Wrong> {
    let Some(fit) = &profile.memory else { return Ok(()) };
    // A line through few points may well begin below 0.
    let numbers = [fit.fixed_bytes, fit.slot_bytes, fit.largest_residual_bytes, fit.formula_token_bytes];
    require(numbers.iter().all(|bytes| bytes.is_finite()), "memory", "finite numbers of bytes")?;
    require(is_amount(fit.token_bytes), "memory.token_bytes", "0 or more")?;
    require(fit.points.len() <= ENTRIES, "memory.points", "at most 1,024")?;
    for (index, point) in fit.points.iter().enumerate() {
        let at = |field: &str| format!("memory.points[{index}].{field}");
        require(SLOTS.contains(&point.slots), at("slots"), "1 to 65,536")?;
        require(point.context >= 0, at("context"), "0 or more")?;
        let least = point.bytes.min(point.size_bytes).min(point.size_vram_bytes);
        require(least >= 0, at("bytes"), "0 or more")?;
        require(point.refused.len() <= TEXT, at("refused"), "at most 1,024 bytes")?;
        require(point.fitted_bytes.is_finite(), at("fitted_bytes"), "a finite number")?;
    }
    Ok(())
}

fn speeds(profile: &v1::Profile) -> Result<(), Wrong> {
    require(profile.speeds.len() <= ENTRIES, "speeds", "at most 1,024 points")?;
    let ascend = profile.speeds.is_sorted_by(|before, after| before.slots < after.slots);
    require(ascend, "speeds", "by slots, the fewest first, each once")?;
    for (index, point) in profile.speeds.iter().enumerate() {
        let at = |field: &str| format!("speeds[{index}].{field}");
        require(SLOTS.contains(&point.slots), at("slots"), "1 to 65,536")?;
        for (field, speed) in [
            ("prefill_tokens_per_second", point.prefill_tokens_per_second),
            ("decode_tokens_per_second", point.decode_tokens_per_second),
        ] {
            require(is_amount(speed), at(field), "above 0, or 0 if it took no time that could be told")?;
        }
        require(is_amount(point.request_seconds), at("request_seconds"), "0 or more")?;
        require(is_amount(point.throughput), at("throughput"), "0 or more")?;
        require(point.requests >= 0, at("requests"), "0 or more")?;
    }
    Ok(())
}

fn reuse(profile: &v1::Profile) -> Result<(), Wrong> {
    require(profile.reuse.len() <= ENTRIES, "reuse", "at most 1,024 points")?;
    for (index, point) in profile.reuse.iter().enumerate() {
        let at = |field: &str| format!("reuse[{index}].{field}");
        require(point.prefix_tokens >= 1, at("prefix_tokens"), "1 or more")?;
        require(point.own_tokens >= 0, at("own_tokens"), "0 or more")?;
        require(point.batch_tokens >= 0, at("batch_tokens"), "0 or more")?;
        require(is_amount(point.evaluated_tokens), at("evaluated_tokens"), "0 or more")?;
        require(point.needs.len() <= TEXT, at("needs"), "at most 1,024 bytes")?;
    }
    Ok(())
}

fn is_amount(number: f64) -> bool {
    number.is_finite() && number >= 0.0
}

fn require(holds: bool, field: impl Into<String>, wanted: &'static str) -> Result<(), Wrong> {
    if holds { Ok(()) } else { Err(Wrong { field: field.into(), wanted }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> v1::Profile {
        let speed = |slots| v1::SpeedPoint {
            slots,
            prefill_tokens_per_second: 900.0,
            decode_tokens_per_second: 30.0,
            ..Default::default()
        };
        v1::Profile {
            model: "m".into(),
            engine_kind: engine::Kind::Ollama.into(),
            slots: 4,
            max_context: 4_096,
            template: Some(v1::TemplateTokens::default()),
            memory: Some(v1::MemoryFit {
                fixed_bytes: -1.0,
                token_bytes: 8.0,
                points: vec![v1::MemoryPoint { slots: 1, context: 2_048, ..Default::default() }],
                ..Default::default()
            }),
            speeds: vec![speed(1), speed(4)],
            reuse: vec![v1::ReusePoint { prefix_tokens: 128, ..Default::default() }],
            ..Default::default()
        }
    }

    #[test]
    fn what_is_good_passes() {
        assert_eq!(check(&good()), Ok(()));
        assert_eq!(check(&v1::Profile { schema: 1, speeds: Vec::new(), ..good() }), Ok(()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        type Change = fn(&mut v1::Profile);
        let changes: [(&str, Change); 24] = [
            ("model", |p| p.model.clear()),
            ("model", |p| p.model = "two\nlines".into()),
            ("gpu", |p| p.gpu = "g".repeat(1_025)),
            ("notes", |p| p.notes = vec![String::new(); 1_025]),
            ("engine_kind", |p| p.engine_kind = 0),
            ("engine_kind", |p| p.engine_kind = 77),
            ("schema", |p| p.schema = 2),
            ("slots", |p| p.slots = 0),
            ("max_context", |p| p.max_context = -1),
            ("prefill_tokens_per_second", |p| p.prefill_tokens_per_second = f64::NAN),
            ("decode_tokens_per_second", |p| p.decode_tokens_per_second = -1.0),
            ("kv_bytes_per_token", |p| p.kv_bytes_per_token = f64::INFINITY),
            ("request_seconds", |p| p.request_seconds = -0.1),
            ("image_tokens", |p| p.image_tokens = -1),
            ("template", |p| p.template.as_mut().unwrap().system = -1),
            ("memory", |p| p.memory.as_mut().unwrap().fixed_bytes = f64::NAN),
            ("memory.token_bytes", |p| p.memory.as_mut().unwrap().token_bytes = -1.0),
            ("memory.points[0].slots", |p| p.memory.as_mut().unwrap().points[0].slots = 0),
            ("speeds", |p| p.speeds[1].slots = 1),
            ("speeds[0].slots", |p| p.speeds[0].slots = 0),
            ("speeds[1].decode_tokens_per_second", |p| p.speeds[1].decode_tokens_per_second = -1.0),
            ("speeds[0].request_seconds", |p| p.speeds[0].request_seconds = f64::NAN),
            ("reuse[0].prefix_tokens", |p| p.reuse[0].prefix_tokens = 0),
            ("reuse[0].evaluated_tokens", |p| p.reuse[0].evaluated_tokens = f64::NAN),
        ];
        for (field, change) in changes {
            let mut profile = good();
            change(&mut profile);
            assert_eq!(check(&profile).map_err(|wrong| wrong.field), Err(field.to_owned()));
        }
    }
}
