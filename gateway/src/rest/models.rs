//! `/v1/models`: what requests may name.

use axum::{Json, extract::State};
use caravan_proto::v1::{FleetModel, ListModelsRequest};
use serde_json::{Value, json};

use super::{Caller, Rest, error::Error, segment::Segment};
use crate::upstream::failure;

/// Models of one page.
const PAGE: i32 = 1000;

/// `GET /v1/models`
pub(super) async fn list(State(rest): State<Rest>, caller: Caller) -> Result<Json<Value>, Error> {
    let models = all(&rest, &caller).await?;
    Ok(Json(json!({ "object": "list", "data": models.iter().map(object).collect::<Vec<_>>() })))
}

/// `GET /v1/models/{model}`
pub(super) async fn get(
    State(rest): State<Rest>,
    caller: Caller,
    Segment(name): Segment,
) -> Result<Json<Value>, Error> {
    let models = all(&rest, &caller).await?;
    let found = models.iter().find(|model| model.name == name);
    found.map(|model| Json(object(model))).ok_or_else(|| Error::no_such_model(&name))
}

async fn all(rest: &Rest, caller: &Caller) -> Result<Vec<FleetModel>, Error> {
    let (mut models, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = rest.request(caller, ListModelsRequest { page_size: PAGE, page_token });
        let page = rest.planner.fleet().list_models(request).await.map_err(failure)?.into_inner();
        models.extend(page.models);
        if page.next_page_token.is_empty() {
            return Ok(models);
        }
        page_token = page.next_page_token;
    }
}

/// OpenAI's model. When it was made no engine tells.
fn object(model: &FleetModel) -> Value {
    json!({
        "id": model.name,
        "object": "model",
        "created": 0,
        "owned_by": "caravan",
        "x_caravan": {
            "engines": model.engines,
            "slots": model.slots,
            "max_context": Some(model.max_context).filter(|tokens| *tokens > 0),
            "chat": model.chat,
            "embedding": model.embedding,
            "digests": model.digests,
        },
    })
}
