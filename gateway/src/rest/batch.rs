//! A batch as OpenAI's Batch API shows it, with what is Caravan's own under `x_caravan`.

use caravan_proto::{
    json,
    v1::{Batch, LineError, batch::State},
};
use serde_json::{Value, json};

/// The object. Times are whole seconds since 1970; what does not apply is null.
pub(super) fn object(batch: &Batch) -> Value {
    let state = batch.state();
    let seconds = |time: &Option<prost_types::Timestamp>| time.as_ref().map(|time| time.seconds);
    let ended = |wanted: State| if state == wanted { seconds(&batch.end_time) } else { None };
    let window = batch.completion_window.as_ref().map(|window| window.seconds);
    let requests = batch.requests.unwrap_or_default();
    let chunks = batch.chunks.unwrap_or_default();
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
        "x_caravan": {
            "state": json::enum_text(state.as_str_name(), "State"),
            "state_reason": text(&batch.state_reason),
            "state_message": text(&batch.state_message),
            "chunks": { "total": chunks.total, "done": chunks.done },
            "usage": batch.usage.as_ref().map(json::to_value),
        },
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
fn id(name: &str) -> Option<&str> {
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
