//! The profile: what is concluded from the measurements, nothing else.

use std::time::Duration;

use caravan_proto::v1::{Profile, SpeedPoint};

use super::{
    formula::Cache,
    identity::Identity,
    line::{self, Line},
    log::Log,
    measurement::Reuse,
    rates, reuse, template,
};
use crate::engine::Facts;

/// Version of the form of profiles.
pub(crate) const SCHEMA: i32 = 1;
/// Formula and measurement of a token's bytes may differ by so much, as a share: on an H200 compute buffers
/// that grow with the context add 4 %.
const DISAGREES: f64 = 0.1;
/// The mean distance of requests from their fit, as a share, from which on it is worth a note: batches
/// are to be predicted as well as that.
const LOOSE: f64 = 0.1;

/// What is known besides the measurements.
#[derive(Debug)]
pub(super) struct Known<'a> {
    pub(super) facts: &'a Facts,
    /// Slots that the profile is for.
    pub(super) slots: u32,
    /// The largest context that may be asked for.
    pub(super) limit: Option<u64>,
    /// Of the model's own.
    pub(super) model_context: Option<u64>,
    pub(super) sliding_window: Option<u64>,
    /// Whether a request may say `num_batch`.
    pub(super) can_batch: bool,
    pub(super) ceiling: u64,
}

/// The profile of what `log` holds.
pub(super) fn conclude(log: &Log, known: &Known<'_>, notes: Vec<String>, left_out: Vec<String>) -> Profile {
    let mut profile = identified(log.identity());
    let reuses: Vec<_> = log.reuses().collect();
    // What is found out of an engine that does not tell is no part of what the profile holds for.
    let whole = profile.swa_full || reuse::shows_whole_cache(&reuses, known.sliding_window);
    let cache = Cache::of(&known.facts.metadata, &profile.kv_type, whole);
    let cache = cache.as_ref();
    profile.notes = notes;
    profile.left_out = left_out;
    profile.model_context = known.model_context.map_or(0, int64);
    profile.vram_ceiling_bytes = int64(known.ceiling);
    profile.slots = known.slots.try_into().unwrap_or(i32::MAX);
    profile.measure_time = Some(std::time::SystemTime::now().into());
    let spent = Duration::try_from_secs_f64(log.seconds()).unwrap_or_default();
    profile.duration = spent.try_into().ok();
    memory(&mut profile, log, known, cache);
    speeds(&mut profile, log);
    prefixes(&mut profile, &reuses, known, cache);
    if let Some(measured) = log.template() {
        let (tokens, notes) = template::conclude(measured);
        profile.template = tokens;
        profile.notes.extend(notes);
    }
    if is_bare(&known.facts.template) {
        profile.notes.push(
            "The model's template is a bare {{ .Prompt }}: roles and system messages leave no mark in what it \
             reads."
                .to_owned(),
        );
    }
    profile
}

fn identified(identity: &Identity) -> Profile {
    let Identity {
        host,
        model,
        model_digest,
        engine_kind,
        engine_version,
        gpu,
        driver,
        kv_type,
        swa_full,
        caravan_version,
    } = identity.clone();
    Profile {
        host,
        model,
        model_digest,
        engine_kind,
        engine_version,
        gpu,
        driver,
        kv_type,
        swa_full,
        caravan_version,
        schema: SCHEMA,
        ..Default::default()
    }
}

fn memory(profile: &mut Profile, log: &Log, known: &Known<'_>, cache: Option<&Cache>) {
    let loads: Vec<_> = log.loads().collect();
    profile.max_context =
        safe_context(log, known.slots).or(known.limit.filter(|_| loads.is_empty())).map_or(0, int64);
    let formula = cache.map_or(0.0, Cache::token_bytes);
    let line = Line::of(&loads, cache);
    profile.memory = line::message(&loads, line.as_ref(), cache);
    profile.kv_bytes_per_token = line.map_or(formula, |line| line.token);
    let Some(line) = line else {
        profile.notes.push(
            match profile.memory {
                Some(_) => {
                    "What a token takes is not known: neither loads of other contexts nor the formula tell."
                }
                None => "Memory is not known: neither the engine nor the host tells what it takes.",
            }
            .to_owned(),
        );
        return;
    };
    if formula == 0.0 {
        profile.notes.push(
            "The formula of a token's memory does not apply: the model's dimensions do not tell.".to_owned(),
        );
    } else if (line.token / formula - 1.0).abs() > DISAGREES {
        profile.notes.push(format!(
            "A token takes {:.1} KiB as measured and {:.1} KiB by the formula.",
            line.token / 1024.0,
            formula / 1024.0
        ));
    }
}

/// The largest context whose last reading was safe.
fn safe_context(log: &Log, slots: u32) -> Option<u64> {
    let loads: Vec<_> = log.loads().filter(|load| load.slots == slots).collect();
    let last = |context: u64| loads.iter().rev().find(|load| load.context == context);
    let contexts = loads.iter().map(|load| load.context);
    contexts.filter(|context| last(*context).is_some_and(|load| load.is_safe())).max()
}

fn speeds(profile: &mut Profile, log: &Log) {
    let rates = rates::conclude(&log.bursts().collect::<Vec<_>>());
    let own = rates.iter().rfind(|rates| rates.point.slots <= profile.slots);
    if let Some(rates) = own {
        let SpeedPoint { prefill_tokens_per_second, decode_tokens_per_second, request_seconds, .. } =
            rates.point;
        profile.prefill_tokens_per_second = prefill_tokens_per_second;
        profile.decode_tokens_per_second = decode_tokens_per_second;
        profile.request_seconds = request_seconds;
        if rates.point.slots < profile.slots {
            profile.notes.push(format!("The speeds are those of {} busy lanes.", rates.point.slots));
        }
        if rates.off > LOOSE {
            profile.notes.push(format!(
                "Requests took {:.0} % more or less than these speeds say: times are as uncertain.",
                rates.off * 100.0
            ));
        }
    } else {
        profile.notes.push("Speeds are not known: what a token takes could not be told.".to_owned());
    }
    let knee = rates.iter().find(|rates| rates.point.knee).map(|rates| rates.point.slots);
    if let Some(knee) = knee.filter(|knee| *knee < profile.slots) {
        profile.notes.push(format!("More than {knee} slots are hardly faster here."));
    }
    profile.speeds = rates.into_iter().map(|rates| rates.point).collect();
}

fn prefixes(profile: &mut Profile, reuses: &[&Reuse], known: &Known<'_>, cache: Option<&Cache>) {
    let recurrent = cache.is_some_and(|cache| cache.state > 0.0);
    profile.reuse = reuse::conclude(reuses, known.sliding_window, known.can_batch, recurrent);
    if !profile.reuse.is_empty() && !profile.reuse.iter().any(|point| point.reused) {
        profile
            .notes
            .push("No shared prefix is reused: every request evaluates all of its prompt.".to_owned());
    }
}

fn is_bare(template: &str) -> bool {
    template.split_whitespace().collect::<String>() == "{{.Prompt}}"
}

fn int64(number: u64) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
