//! `/v1/files`.

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, Uri},
};
use caravan_proto::{
    name::FileId,
    v1::{
        DeleteFileRequest, File, GetFileRequest, ListFilesRequest,
        file::{Purpose, State as FileState},
        list_files_request::Order,
    },
};
use serde_json::{Value, json};

use super::{Caller, Rest, error::Error, file, query::Query, segment::Segment, upload::Upload};
use crate::upstream::failure;

/// `POST /v1/files`
pub(super) async fn create(
    State(rest): State<Rest>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Error> {
    let file = Upload::new(&headers)?.receive(&rest, &caller, body).await?;
    Ok(Json(file::object(&file)))
}

/// `GET /v1/files`: those that can be read, newest first.
pub(super) async fn list(State(rest): State<Rest>, caller: Caller, uri: Uri) -> Result<Json<Value>, Error> {
    // OpenAI's bounds.
    let query = Query::of(&uri, &["after", "limit", "order", "purpose"], 10_000, 10_000)?;
    let order = if query.oldest_first { Order::OldestFirst } else { Order::NewestFirst };
    let purpose = query.purpose.as_deref().map(purpose).transpose()?.unwrap_or(Purpose::Unspecified);
    let mut rows = query.rows();
    while let Some((page_size, page_token)) = rows.wanted() {
        let wanted = ListFilesRequest {
            page_size,
            page_token,
            purpose: purpose.into(),
            state: FileState::Ready.into(),
            order: order.into(),
        };
        let request = rest.request(&caller, wanted);
        let page = rest.planner.files().list_files(request).await.map_err(failure)?.into_inner();
        rows.add(page.files, page.next_page_token);
    }
    Ok(Json(rows.list(file::object)))
}

/// `GET /v1/files/{id}`
pub(super) async fn get(State(rest): State<Rest>, caller: Caller, id: Segment) -> Result<Json<Value>, Error> {
    Ok(Json(file::object(&find(&rest, &caller, &id).await?)))
}

/// `DELETE /v1/files/{id}`
pub(super) async fn delete(
    State(rest): State<Rest>,
    caller: Caller,
    id: Segment,
) -> Result<Json<Value>, Error> {
    let request = rest.request(&caller, DeleteFileRequest { name: parse(&id)?.name() });
    rest.planner.files().delete_file(request).await.map_err(failure)?;
    Ok(Json(json!({ "id": id.0, "object": "file", "deleted": true })))
}

/// The file with this id.
pub(super) async fn find(rest: &Rest, caller: &Caller, id: &Segment) -> Result<File, Error> {
    let request = rest.request(caller, GetFileRequest { name: parse(id)?.name() });
    Ok(rest.planner.files().get_file(request).await.map_err(failure)?.into_inner())
}

fn parse(id: &Segment) -> Result<FileId, Error> {
    id.id().ok_or_else(|| Error::no_such_file(&id.0))
}

fn purpose(word: &str) -> Result<Purpose, Error> {
    let known = [Purpose::Batch, Purpose::BatchOutput, Purpose::Model];
    let found = known.into_iter().find(|purpose| file::purpose(*purpose) == word);
    found.ok_or_else(|| Error::invalid("purpose", "purpose must be batch, batch_output or model"))
}
