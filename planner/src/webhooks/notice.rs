use caravan_proto::json;
use serde_json::{Value, json};

use crate::{clock, store::Batch};

/// What is told of a batch that has ended: which, how, and when. No word of its requests and answers.
pub(super) fn notice(batch: &Batch) -> Value {
    let state = json::enum_text(batch.state.as_str_name(), "State");
    let seconds = |time: Option<i64>| time.map(|time| clock::timestamp(time).seconds);
    let requests = batch.requests;
    json!({
        "type": format!("batch.{state}"),
        "timestamp": batch.ended.and_then(|ended| jiff::Timestamp::from_microsecond(ended).ok()).map(|ended| ended.to_string()),
        "data": {
            "id": batch.id.to_string(),
            "status": state,
            "request_counts": {
                "total": requests.total,
                "completed": requests.succeeded,
                "failed": requests.failed,
            },
            "created_at": seconds(Some(batch.created)),
            "in_progress_at": seconds(batch.started),
            "ended_at": seconds(batch.ended),
            "output_file_id": batch.outputs.output.map(|file| file.to_string()),
            "error_file_id": batch.outputs.error.map(|file| file.to_string()),
            "metadata": batch.spec.metadata,
        },
    })
}
