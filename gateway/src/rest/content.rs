//! `/v1/files/{id}/content`: the bytes, or some of them.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use caravan_proto::v1::{DownloadFileRequest, DownloadFileResponse, File, file};
use futures::StreamExt as _;

use super::{Caller, Rest, error::Error, files, range::Wanted, segment::Segment};
use crate::{relay::Relay, resume::Opening};

/// `GET` and `HEAD /v1/files/{id}/content`
pub(super) async fn get(
    State(rest): State<Rest>,
    caller: Caller,
    id: Segment,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let file = files::find(&rest, &caller, &id).await?;
    if file.state() != file::State::Ready {
        return Err(Error::no_such_file(&id.0));
    }
    let (size, etag) = (file.size_bytes.unsigned_abs(), format!("\"{}\"", file.sha256));
    let (status, range) = match Wanted::of(&headers, size, &etag) {
        Wanted::Whole => (StatusCode::OK, 0..size),
        Wanted::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Wanted::NotModified => (StatusCode::NOT_MODIFIED, 0..0),
        Wanted::Nothing => return Err(Error::no_such_range(size)),
    };
    let body = if method == Method::HEAD || range.is_empty() {
        Body::empty()
    } else {
        download(&rest, &caller, &file, range.start, range.end).await?
    };
    let mut response = (status, body).into_response();
    let head = response.headers_mut();
    let mut set =
        |name, value: String| HeaderValue::try_from(value).map(|value| head.insert(name, value)).is_ok();
    set(header::ETAG, etag);
    set(header::ACCEPT_RANGES, "bytes".to_owned());
    if status == StatusCode::NOT_MODIFIED {
        return Ok(response);
    }
    set(header::CONTENT_TYPE, "application/octet-stream".to_owned());
    // Nobody's browser takes a model's answer for a page.
    set(header::CONTENT_DISPOSITION, "attachment".to_owned());
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned());
    set(header::CONTENT_LENGTH, (range.end - range.start).to_string());
    if status == StatusCode::PARTIAL_CONTENT {
        set(header::CONTENT_RANGE, format!("bytes {}-{}/{size}", range.start, range.end - 1));
    }
    Ok(response)
}

/// The bytes as they come from the planner, or another one if it is lost. A slow reader slows it down.
async fn download(rest: &Rest, caller: &Caller, file: &File, start: u64, end: u64) -> Result<Body, Error> {
    let offset = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let wanted = DownloadFileRequest { name: file.name.clone(), offset: offset(start), end: offset(end) };
    let request = caller.stream(wanted);
    let planner = rest.planner.clone();
    let call = move |request| -> Opening<DownloadFileResponse> {
        let mut files = planner.files();
        Box::pin(async move { files.download_file(request).await })
    };
    let (planners, shutdown) = (rest.planner.planners().clone(), rest.shutdown.token());
    let pieces = Relay::resumed(request, call, planners, rest.resume, shutdown).await?.into_inner();
    Ok(Body::from_stream(pieces.map(|piece| piece.map(|piece| piece.data))))
}
