use std::fmt::Debug;

use caravan_planner::{api::check, prepare, profiles};
use caravan_proto::{delta, json, name::File, v1};
use prost::{Message, Name};

use crate::refused;

/// When batches are created here, in microseconds since 1970.
const CREATED: i64 = 1_700_000_000_000_000;

/// Any bytes as a message of the public services, the first byte choosing which: they are none, or a message that is
/// written and read again the same, and shown as JSON; and what the services check of it holds or is refused.
pub fn proto(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 19 {
        0 | 1 => read(bytes, create_batch),
        2 => read(bytes, upload),
        3 => read(bytes, list_files),
        4 => read(bytes, list_batches),
        5 => read(bytes, retry),
        6 => read(bytes, |request: v1::EnsureModelRequest| {
            ok(check::model(&request.model));
        }),
        7 => read(bytes, create_profile),
        8 => read(bytes, stream_results),
        9 => read(bytes, watch_batch),
        10 => read(bytes, change),
        11 => read(bytes, |request: v1::QueryUploadRequest| {
            ok(check::upload_id("upload_id", &request.upload_id));
        }),
        12 => read(bytes, |_: v1::CreateKeyRequest| {}),
        13 => read(bytes, |_: v1::ListKeysRequest| {}),
        14 => read(bytes, |_: v1::VerifyKeyRequest| {}),
        15 => read(bytes, |_: v1::DownloadFileRequest| {}),
        16 => read(bytes, |_: v1::ListExecutorsRequest| {}),
        17 => read(bytes, |_: v1::ListModelsRequest| {}),
        _ => read(bytes, |_: v1::ListProfilesRequest| {}),
    }
}

/// Hands what the bytes are to `then`, if they are anything.
fn read<M: Message + Name + Default + Debug>(bytes: &[u8], then: impl FnOnce(M)) {
    let Ok(message) = M::decode(bytes) else { return };
    let again = M::decode(message.encode_to_vec().as_slice()).unwrap();
    // As text: not-a-numbers are not equal, and fields of maps are in no order.
    assert_eq!(shown(&again), shown(&message));
    assert!(json::to_value(&message).is_object());
    then(message);
}

fn shown<M: Message + Name>(message: &M) -> String {
    let mut value = json::to_value(message);
    value.sort_all_objects();
    value.to_string()
}

/// The outcome of a check: what it refuses, it refuses well.
fn ok<T>(checked: Result<T, tonic::Status>) -> Option<T> {
    checked.inspect_err(refused).ok()
}

fn create_batch(request: v1::CreateBatchRequest) {
    ok(check::request_id(request.request_id));
    let Some((spec, input)) = request.batch.and_then(|batch| ok(prepare::check_spec(batch))) else { return };
    assert!(spec.input_file == input.name() || spec.input_file == input.to_string());
    let deadline = prepare::deadline(&spec, CREATED);
    assert_eq!(deadline.is_some(), spec.completion_window.is_some(), "a window has an end");
    assert!(deadline.is_none_or(|deadline| deadline > CREATED), "which is to come");
    let again = ok(prepare::check_spec(spec.clone())).map(|(spec, _)| spec);
    assert_eq!(again.as_ref(), Some(&spec), "what was checked once is good");
}

fn upload(request: v1::UploadFileRequest) {
    if let Some(v1::upload_file_request::Part::Start(start)) = request.part
        && ok(check::upload_start(&start)).is_some()
    {
        assert!(!start.filename.contains('/') && start.filename.len() <= 255);
        assert!(ok(check::upload_id("start.upload_id", &start.upload_id)).is_some());
    }
}

fn list_files(request: v1::ListFilesRequest) {
    if let Some(limit) = ok(check::page_size(request.page_size)) {
        assert!((1..=1_000).contains(&limit));
        ok(check::files(&request, limit));
    }
}

fn list_batches(request: v1::ListBatchesRequest) {
    ok(check::page_size(request.page_size));
    ok(check::page_token::<caravan_proto::name::Batch>(&request.page_token));
    ok(check::page_token::<File>(&request.page_token));
}

fn retry(request: v1::RetryBatchRequest) {
    ok(check::request_id(request.request_id.clone()));
    if let Some(kinds) = ok(check::kinds(&request)) {
        assert_ne!(kinds, 0, "a retry is of something");
    }
}

fn create_profile(request: v1::CreateProfileRequest) {
    let Some(profile) = request.profile else { return };
    if profiles::check(&profile).is_ok() {
        // It holds no number that JSON has not, so that it is read as it is shown but for times beyond its calendar.
        let timeless = v1::Profile { measure_time: None, ..profile };
        assert_eq!(json::from_value(&json::to_value(&timeless)), Ok(timeless));
    }
}

fn stream_results(request: v1::StreamResultsRequest) {
    if let Ok(id) = request.name.parse() {
        ok(check::cursor(id, &request));
    }
}

fn watch_batch(request: v1::WatchBatchRequest) {
    if let Ok(id) = request.name.parse() {
        ok(check::resume_token(&request.resume_token, id, i64::MAX));
    }
}

/// The batch of a request is what watches tell of, in changes of one to the other.
fn change(request: v1::CreateBatchRequest) {
    let (old, new) = (v1::Batch::default(), request.batch.unwrap_or_default());
    for (old, new) in [(&old, &new), (&new, &old)] {
        let mut batch = old.clone();
        match delta::between(old, new) {
            Some(change) => delta::apply(&mut batch, &change),
            None => assert_eq!(old.encoded_len(), new.encoded_len()),
        }
        assert_eq!(shown(&batch), shown(new));
    }
}
