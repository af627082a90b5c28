use caravan_proto::{
    name::{BatchId, PlanId},
    v1::{self, request_result::Outcome},
};
use prost::Message as _;

use super::{Error, segment::segment};
use crate::{
    objects::{self, Fault, Objects},
    store::{Chunk, Store},
};

/// Chunk rows read at a time.
const PAGE_ROWS: i64 = 500;

/// Makes every request that is still open final with this error, through the same commit as any
/// result, so that the books of a cancelled batch balance. Holds one chunk.
///
/// # Errors
/// If store or objects fail; what was closed stays closed.
pub async fn close(
    store: &dyn Store,
    objects: &Objects,
    batch: BatchId,
    error: &v1::RequestError,
) -> Result<(), Error> {
    let plan = store.plan_of(batch).await?;
    let mut next = 0;
    loop {
        let chunks = store.chunks(batch, next, PAGE_ROWS).await?;
        let Some(last) = chunks.last() else { return Ok(()) };
        next = last.number + 1;
        for chunk in chunks.iter().filter(|chunk| chunk.done_count < chunk.size) {
            let open = open_requests(objects, (batch, plan), chunk, error).await?;
            let (bytes, segment) = segment(batch, open.iter().collect());
            objects.put_segment(batch, segment.id, bytes).await?;
            store.commit(batch, &segment, store.now().await?).await?;
        }
    }
}

async fn open_requests(
    objects: &Objects,
    (batch, plan): (BatchId, Option<PlanId>),
    chunk: &Chunk,
    error: &v1::RequestError,
) -> Result<Vec<v1::RequestResult>, Error> {
    let bytes = objects.payload(batch, plan, chunk.number).await?;
    let payload = v1::ChunkPayload::decode(bytes).map_err(|why| {
        let object = format!("chunk {} of {batch}", chunk.number);
        objects::Error(Fault::Damaged { object, what: why.to_string() })
    })?;
    let open = payload.requests.into_iter().enumerate().filter(|(index, _)| !is_done(&chunk.done, *index));
    let results = open.map(|(index, request)| v1::RequestResult {
        chunk: chunk.number,
        index: i32::try_from(index).unwrap_or(i32::MAX),
        line: request.line,
        custom_id: request.custom_id,
        outcome: Some(Outcome::Error(error.clone())),
        ..Default::default()
    });
    Ok(results.collect())
}

fn is_done(bits: &[u8], index: usize) -> bool {
    bits.get(index / 8).is_some_and(|byte| byte & (1 << (index % 8)) != 0)
}
