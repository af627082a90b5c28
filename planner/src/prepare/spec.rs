use caravan_plan::{Policy, StatedTokens, Tokens};
use caravan_proto::{error::Reason, name::FileId, v1};
use caravan_request::{Defaults, DefaultsError, Endpoint};
use tonic::Status;

use super::Options;
use crate::store::Micros;

/// Labels of a batch at most, and their sizes: those of OpenAI's batches.
const MAX_LABELS: usize = 16;
const MAX_LABEL_KEY: usize = 64;
const MAX_LABEL_VALUE: usize = 512;

/// Whole seconds of a completion window: less is over before anything runs, and more is no window.
const RETENTION_SECONDS: std::ops::RangeInclusive<i64> = 60..=3_650 * 86_400;
const WINDOW_SECONDS: std::ops::RangeInclusive<i64> = 1..=365 * 86_400;

/// Checks what a client sends to create a batch; gives it with its defaults filled in, and the input.
///
/// # Errors
/// INVALID_ARGUMENT with the field and the way out.
pub fn check(spec: v1::Batch) -> Result<(v1::Batch, FileId), Status> {
    let spec = check_fields(spec)?;
    let input = spec.input_file.parse();
    let input =
        input.map_err(|error| Reason::InvalidArgument.field("batch.input_file", format!("{error}")))?;
    Ok((spec, input))
}

/// The same but for the input.
pub(super) fn check_fields(mut spec: v1::Batch) -> Result<v1::Batch, Status> {
    let wrong =
        |field: &str, message: String| Err(Reason::InvalidArgument.field(format!("batch.{field}"), message));
    let server_set = server_set(&spec);
    if !server_set.is_empty() {
        return wrong(server_set, format!("{server_set} is set by the server: leave it empty"));
    }
    if v1::Strategy::try_from(spec.strategy).is_err() {
        return wrong("strategy", "strategy must be independent or conversation".into());
    }
    if v1::OnInvalid::try_from(spec.on_invalid).is_err() {
        return wrong("on_invalid", "on_invalid must be reject_batch or reject_line".into());
    }
    if !(-100..=100).contains(&spec.priority) {
        return wrong("priority", "priority must be -100 to 100".into());
    }
    if !spec.endpoint.is_empty() && Endpoint::parse(&spec.endpoint).is_none() {
        let known = Endpoint::ALL.map(Endpoint::as_str).join(", ");
        return wrong("endpoint", format!("endpoint must be one of {known}"));
    }
    if let Err(error) = defaults(&spec) {
        return wrong("defaults", error.to_string());
    }
    if spec.model.len() > 256 || spec.model.contains(char::is_control) {
        return wrong("model", "model must have at most 256 bytes, none a control character".into());
    }
    if spec.metadata.len() > MAX_LABELS
        || spec.metadata.iter().any(|(k, v)| k.len() > MAX_LABEL_KEY || v.len() > MAX_LABEL_VALUE)
    {
        let bounds =
            format!("{MAX_LABELS} labels, keys to {MAX_LABEL_KEY} bytes, values to {MAX_LABEL_VALUE}");
        return wrong("metadata", format!("metadata may hold {bounds}"));
    }
    check_numbers(&spec)?;
    if spec.strategy() == v1::Strategy::Unspecified {
        spec.strategy = v1::Strategy::Independent.into();
    }
    if spec.on_invalid() == v1::OnInvalid::Unspecified {
        spec.on_invalid = v1::OnInvalid::RejectBatch.into();
    }
    Ok(spec)
}

fn check_numbers(spec: &v1::Batch) -> Result<(), Status> {
    let wrong =
        |field: &str, message: &str| Err(Reason::InvalidArgument.field(format!("batch.{field}"), message));
    if let Some(limits) = &spec.chunk_limits {
        if limits.max_requests < 0 {
            return wrong("chunk_limits.max_requests", "max_requests must be 1 or more, or 0 for no bound");
        }
        if !limits.max_seconds.is_finite() || limits.max_seconds < 0.0 {
            return wrong("chunk_limits.max_seconds", "max_seconds must be above 0, or 0 for no bound");
        }
    }
    if let Some(stated) = &spec.stated_tokens {
        for (field, tokens) in [
            ("stated_tokens.max_context", stated.max_context),
            ("stated_tokens.system_tokens", stated.system_tokens),
            ("stated_tokens.exchange_tokens", stated.exchange_tokens),
            ("stated_tokens.user_tokens", stated.user_tokens),
        ] {
            if tokens < 0 {
                return wrong(field, "a stated number must be 1 or more, or 0 for not stated");
            }
        }
        if stated.user_tokens > 0 && stated.exchange_tokens > 0 && stated.user_tokens > stated.exchange_tokens
        {
            let message = "user_tokens is part of exchange_tokens: it cannot be larger";
            return wrong("stated_tokens.user_tokens", message);
        }
    }
    if spec.completion_window.is_some_and(|window| !lasts(&window, WINDOW_SECONDS)) {
        return wrong("completion_window", "completion_window must be 1 second to 365 days, or absent");
    }
    if spec.retention.is_some_and(|retention| !lasts(&retention, RETENTION_SECONDS)) {
        return wrong("retention", "retention must be 1 minute to 3650 days, or absent");
    }
    Ok(())
}

/// Whether it is a duration of so many whole seconds, its fraction one of a second and of the same sign.
fn lasts(duration: &prost_types::Duration, seconds: std::ops::RangeInclusive<i64>) -> bool {
    seconds.contains(&duration.seconds) && (0..1_000_000_000).contains(&duration.nanos)
}

/// When a batch of this time expires, if it does.
#[must_use]
pub fn deadline(spec: &v1::Batch, created: Micros) -> Option<Micros> {
    let window = std::time::Duration::try_from(spec.completion_window?).ok()?;
    Some(created.saturating_add(i64::try_from(window.as_micros()).ok()?))
}

/// The first field that only the server may set and that is set; empty if there is none.
fn server_set(spec: &v1::Batch) -> &'static str {
    let set = [
        ("name", !spec.name.is_empty()),
        ("state", spec.state != 0),
        ("state_reason", !spec.state_reason.is_empty()),
        ("requests", spec.requests.is_some()),
        ("chunks", spec.chunks.is_some()),
        ("usage", spec.usage.is_some()),
        ("plan", spec.plan.is_some()),
        ("output_file", !spec.output_file.is_empty()),
        ("error_file", !spec.error_file.is_empty()),
        ("line_errors", !spec.line_errors.is_empty()),
        ("line_error_count", spec.line_error_count != 0),
        ("create_time", spec.create_time.is_some()),
        ("plan_time", spec.plan_time.is_some()),
        ("start_time", spec.start_time.is_some()),
        ("last_commit_time", spec.last_commit_time.is_some()),
        ("end_time", spec.end_time.is_some()),
        ("purge_time", spec.purge_time.is_some()),
        ("revision", spec.revision != 0),
        ("report", spec.report.is_some()),
        ("pinned_models", !spec.pinned_models.is_empty()),
        ("expire_time", spec.expire_time.is_some()),
        ("retried_from", !spec.retried_from.is_empty()),
        ("retries", !spec.retries.is_empty()),
    ];
    set.iter().find(|(_, set)| *set).map_or("", |(field, _)| field)
}

/// What the lines of a batch are laid over; none if the batch says nothing of it.
pub(super) fn defaults(spec: &v1::Batch) -> Result<Option<Defaults>, DefaultsError> {
    let given = Some(spec.defaults.as_str()).filter(|text| !text.is_empty());
    given.map(|text| Defaults::parse(text, Endpoint::parse(&spec.endpoint))).transpose()
}

/// The policy of planning for a batch.
pub(super) fn policy(spec: &v1::Batch, options: &Options) -> Policy {
    let stated = spec.stated_tokens.unwrap_or_default();
    let tokens = |given: i64| u64::try_from(given).ok().filter(|given| *given > 0).map(Tokens);
    let limits = spec.chunk_limits.unwrap_or_default();
    let max_time =
        std::time::Duration::try_from_secs_f64(limits.max_seconds).ok().filter(|time| !time.is_zero());
    Policy {
        strategy: match spec.strategy() {
            v1::Strategy::Conversation => caravan_plan::Strategy::Conversation,
            v1::Strategy::Independent | v1::Strategy::Unspecified => caravan_plan::Strategy::Independent,
        },
        max_requests: u32::try_from(limits.max_requests).ok().and_then(std::num::NonZeroU32::new),
        max_time: max_time
            .map(|time| caravan_plan::Micros(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))),
        stated: StatedTokens {
            max_context: tokens(stated.max_context),
            system: tokens(stated.system_tokens),
            exchange: tokens(stated.exchange_tokens),
            user: tokens(stated.user_tokens),
        },
        limits: options.limits(),
    }
}

#[cfg(test)]
mod tests {
    use prost_types::Duration;

    use super::*;

    #[test]
    fn a_window_that_is_taken_ends() {
        let spec = |seconds, nanos| v1::Batch {
            completion_window: Some(Duration { seconds, nanos }),
            retention: Some(Duration { seconds: 60, nanos: 0 }),
            ..v1::Batch::default()
        };
        let taken = check_fields(spec(1, 500_000_000)).unwrap();
        assert_eq!(deadline(&taken, 7), Some(1_500_007));
        // Below nothing in all, which would have been no deadline.
        for nanos in [-2_000_000_000, -1, 1_000_000_000] {
            let refused = check_fields(spec(1, nanos)).unwrap_err();
            assert!(refused.message().starts_with("completion_window"), "{refused}");
            let retention = Some(Duration { seconds: 60, nanos });
            let refused = check_fields(v1::Batch { retention, ..v1::Batch::default() }).unwrap_err();
            assert!(refused.message().starts_with("retention"), "{refused}");
        }
    }
}
