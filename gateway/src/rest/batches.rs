//! `/v1/batches`.

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use caravan_proto::{name::BatchId, v1::GetBatchRequest};

use super::{Caller, Rest, batch, error::Error};
use crate::upstream::failure;

/// `GET /v1/batches/{id}`
pub(super) async fn get(
    State(rest): State<Rest>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    // OpenAI answers an id that cannot exist as one that does not.
    let id: BatchId = id.parse().map_err(|_| Error::no_such_batch(&id))?;
    let request = rest.request(&caller, GetBatchRequest { name: id.name() });
    let batch = rest.planner.batches().get_batch(request).await.map_err(failure)?;
    Ok(Json(batch::object(batch.get_ref())).into_response())
}
