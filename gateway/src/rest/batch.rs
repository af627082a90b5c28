//! A batch as OpenAI's Batch API shows it, with what is Caravan's own under `x_caravan`.

use caravan_proto::{
    json,
    v1::{Batch, LineError, Plan, Usage, batch::State},
};
use serde_json::{Value, json};

/// The object. Times are whole seconds since 1970; what does not apply is null.
pub(super) fn object(batch: &Batch) -> Value {
    let state = batch.state();
    let seconds = |time: &Option<prost_types::Timestamp>| time.as_ref().map(|time| time.seconds);
    let ended = |wanted: State| if state == wanted { seconds(&batch.end_time) } else { None };
    let window = batch.completion_window.as_ref().map(|window| window.seconds);
    let requests = batch.requests.unwrap_or_default();
    let results_over = matches!(state, State::Finalizing | State::Completed);
    json!({
        "id": id(&batch.name),
        "object": "batch",
        "endpoint": text(&batch.endpoint),
        "errors": errors(&batch.line_errors),
        "input_file_id": id(&batch.input_file),
        "completion_window": window.map(window_text),
        "status": status(state),
        "output_file_id": id(&batch.output_file),
        "error_file_id": id(&batch.error_file),
        "created_at": seconds(&batch.create_time),
        "in_progress_at": seconds(&batch.start_time),
        "expires_at": seconds(&batch.expire_time),
        "finalizing_at": if results_over { seconds(&batch.last_commit_time) } else { None },
        "completed_at": ended(State::Completed),
        "failed_at": ended(State::Failed),
        "expired_at": ended(State::Expired),
        "cancelling_at": null,
        "cancelled_at": ended(State::Cancelled),
        "request_counts": {
            "total": requests.total,
            "completed": requests.succeeded,
            "failed": requests.failed,
        },
        "metadata": batch.metadata,
        "model": text(&batch.model),
        "usage": batch.usage.as_ref().map(usage),
        "x_caravan": own(batch),
    })
}

/// Tokens as OpenAI counts them.
fn usage(usage: &Usage) -> Value {
    json!({
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": { "cached_tokens": usage.cached_tokens },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": { "reasoning_tokens": 0 },
        "total_tokens": usage.prompt_tokens.saturating_add(usage.completion_tokens),
    })
}

/// What OpenAI's object has no place for.
fn own(batch: &Batch) -> Value {
    let word = |value: &str, of| json::enum_text(value, of);
    json!({
        "state": word(batch.state().as_str_name(), "State"),
        "state_reason": text(&batch.state_reason),
        "state_message": text(&batch.state_message),
        "strategy": word(batch.strategy().as_str_name(), "Strategy"),
        "on_invalid": word(batch.on_invalid().as_str_name(), "OnInvalid"),
        "priority": batch.priority,
        "progress": progress(batch),
        "cache_share": batch.usage.as_ref().and_then(cache_share),
        "plan": batch.plan.as_ref().map(plan),
        "line_error_count": batch.line_error_count,
        "pinned_models": batch.pinned_models.iter().map(json::to_value).collect::<Vec<_>>(),
        "retention_seconds": batch.retention.map(|retention| retention.seconds),
        "purged_at": batch.purge_time.map(|time| time.seconds),
        "retried_from": id(&batch.retried_from),
        "webhook": text(&batch.webhook),
    })
}

/// It works on chunk `chunk` of `chunks`, and is at its end in so many seconds if it goes on at this speed.
fn progress(batch: &Batch) -> Value {
    let chunks = batch.chunks.unwrap_or_default();
    let speed = batch.progress.unwrap_or_default();
    json!({
        "chunk": chunks.total.min(chunks.done.saturating_add(1)),
        "chunks": chunks.total,
        "chunks_done": chunks.done,
        "chunks_running": chunks.running,
        "eta_seconds": speed.remaining.map(|remaining| remaining.seconds),
        "requests_per_second": speed.requests_per_second,
        "tokens_per_second": speed.tokens_per_second,
    })
}

/// Of the prompt tokens, those that engines took from their caches; 0 to 1.
fn cache_share(usage: &Usage) -> Option<f64> {
    let known = usage.evaluated_tokens.saturating_add(usage.cached_tokens);
    #[expect(clippy::cast_precision_loss, reason = "tokens of a batch are far below 2^52")]
    (known > 0).then(|| usage.cached_tokens as f64 / known as f64)
}

/// The plan in short; gRPC has the whole.
fn plan(plan: &Plan) -> Value {
    json!({
        "requests": plan.requests,
        "chunks": plan.chunks,
        "largest_chunk": plan.largest_chunk,
        "lanes": plan.lanes,
        "prompt_tokens_without": plan.prompt_tokens_without,
        "prompt_tokens_with": plan.prompt_tokens_with,
        "savings": plan.savings,
        "token_basis": json::enum_text(plan.token_basis().as_str_name(), "Basis"),
        "estimated_seconds": plan.estimated_duration.map(|estimate| estimate.seconds),
        "warnings": plan.warnings,
    })
}

/// OpenAI's word for a state.
fn status(state: State) -> &'static str {
    match state {
        State::Unspecified | State::Validating | State::Planning => "validating",
        State::Queued | State::Running | State::Paused => "in_progress",
        State::Finalizing => "finalizing",
        State::Completed => "completed",
        State::Failed => "failed",
        State::Cancelling => "cancelling",
        State::Cancelled => "cancelled",
        State::Expired => "expired",
    }
}

fn errors(lines: &[LineError]) -> Value {
    if lines.is_empty() {
        return Value::Null;
    }
    let one = |error: &LineError| {
        json!({
            "code": error.code,
            "line": error.line,
            "message": error.message,
            "param": text(&error.param),
        })
    };
    json!({ "object": "list", "data": lines.iter().map(one).collect::<Vec<_>>() })
}

/// The bare id of a resource name; none for an empty one.
pub(super) fn id(name: &str) -> Option<&str> {
    text(name.rsplit('/').next().unwrap_or_default())
}

fn text(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// As OpenAI writes it, `24h`; in seconds where it is no whole number of hours.
fn window_text(seconds: i64) -> String {
    if seconds % 3600 == 0 { format!("{}h", seconds / 3600) } else { format!("{seconds}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_a_word_of_openai() {
        let expected = [
            (State::Validating, "validating"),
            (State::Planning, "validating"),
            (State::Queued, "in_progress"),
            (State::Running, "in_progress"),
            (State::Paused, "in_progress"),
            (State::Finalizing, "finalizing"),
            (State::Completed, "completed"),
            (State::Failed, "failed"),
            (State::Cancelling, "cancelling"),
            (State::Cancelled, "cancelled"),
            (State::Expired, "expired"),
        ];
        for (state, word) in expected {
            assert_eq!(status(state), word);
        }
    }

    #[test]
    fn line_errors_and_windows_read_as_openai_writes_them() {
        let batch = Batch {
            state: State::Failed.into(),
            line_errors: vec![LineError {
                line: 2,
                custom_id: "a".into(),
                code: "invalid_type".into(),
                param: String::new(),
                message: "no".into(),
            }],
            ..Batch::default()
        };
        let data = json!([{ "code": "invalid_type", "line": 2, "message": "no", "param": null }]);
        assert_eq!(object(&batch)["errors"], json!({ "object": "list", "data": data }));
        assert_eq!((window_text(86_400), window_text(90)), ("24h".to_owned(), "90s".to_owned()));
    }
}
