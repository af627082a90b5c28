//! A file as OpenAI's Files API shows it.

use caravan_proto::v1::{File, file};
use serde_json::{Value, json};

use super::batch::id;

/// The object. Times are whole seconds since 1970.
pub(super) fn object(file: &File) -> Value {
    json!({
        "id": id(&file.name),
        "object": "file",
        "bytes": file.size_bytes,
        "created_at": file.create_time.map(|time| time.seconds),
        "expires_at": null,
        "filename": file.filename,
        "purpose": purpose(file.purpose()),
        "status": if file.state() == file::State::Ready { "processed" } else { "uploaded" },
        "status_details": null,
        "x_caravan": { "sha256": file.sha256 },
    })
}

/// OpenAI's word for what a file is for; `model` is Caravan's own.
pub(super) fn purpose(purpose: file::Purpose) -> &'static str {
    match purpose {
        file::Purpose::Unspecified | file::Purpose::Batch => "batch",
        file::Purpose::BatchOutput => "batch_output",
        file::Purpose::Model => "model",
    }
}
