//! `/v1/batches`.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, Uri},
};
use caravan_proto::{
    name::BatchId,
    v1::{CancelBatchRequest, CreateBatchRequest, GetBatchRequest, ListBatchesRequest},
};
use serde_json::Value;

use super::{Caller, Rest, batch, create, error::Error, json::Object, query::Query, segment::Segment};
use crate::upstream::failure;

/// `POST /v1/batches`
pub(super) async fn create(
    State(rest): State<Rest>,
    caller: Caller,
    headers: HeaderMap,
    Object(body): Object,
) -> Result<Json<Value>, Error> {
    let request_id = create::request_id(&headers)?;
    let wanted = CreateBatchRequest { batch: Some(create::batch(body)?), request_id, validate_only: false };
    let created =
        rest.planner.batches().create_batch(rest.request(&caller, wanted)).await.map_err(failure)?;
    Ok(Json(batch::object(created.get_ref())))
}

/// `GET /v1/batches`: newest first.
pub(super) async fn list(State(rest): State<Rest>, caller: Caller, uri: Uri) -> Result<Json<Value>, Error> {
    // OpenAI's bounds.
    let query = Query::of(&uri, &["after", "limit"], 20, 100)?;
    let mut rows = query.rows();
    while let Some((page_size, page_token)) = rows.wanted() {
        let request = ListBatchesRequest { page_size, page_token, states: Vec::new() };
        let request = rest.request(&caller, request);
        let page = rest.planner.batches().list_batches(request).await.map_err(failure)?.into_inner();
        rows.add(page.batches, page.next_page_token);
    }
    Ok(Json(rows.list(batch::object)))
}

/// `GET /v1/batches/{id}`
pub(super) async fn get(State(rest): State<Rest>, caller: Caller, id: Segment) -> Result<Json<Value>, Error> {
    let request = rest.request(&caller, GetBatchRequest { name: parse(&id)?.name() });
    let found = rest.planner.batches().get_batch(request).await.map_err(failure)?;
    Ok(Json(batch::object(found.get_ref())))
}

/// `POST /v1/batches/{id}/cancel`
pub(super) async fn cancel(
    State(rest): State<Rest>,
    caller: Caller,
    id: Segment,
) -> Result<Json<Value>, Error> {
    let request = rest.request(&caller, CancelBatchRequest { name: parse(&id)?.name() });
    let cancelled = rest.planner.batches().cancel_batch(request).await.map_err(failure)?;
    Ok(Json(batch::object(cancelled.get_ref())))
}

pub(super) fn parse(id: &Segment) -> Result<BatchId, Error> {
    id.id().ok_or_else(|| Error::no_such_batch(&id.0))
}
