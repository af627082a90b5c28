use std::{borrow::Cow, collections::HashMap, ops::Range};

use bytes::Bytes;
use caravan_plan::{Chunk, Head, Plan};
use caravan_proto::v1;
use caravan_request::Defaults;
use prost::Message as _;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Error, count::Group};
use crate::{
    files::Reader,
    intake::{Place, Scanned},
};

/// What a payload says beside its requests.
pub(super) struct Frame<'a> {
    pub(super) scanned: &'a Scanned,
    pub(super) heads: &'a [Head],
    pub(super) groups: &'a [Group],
    /// What the lines are laid over.
    pub(super) defaults: Option<&'a Defaults>,
    pub(super) plan: &'a Plan,
    pub(super) strategy: v1::Strategy,
    /// Answer tokens to allow a request of a conversation that states none.
    pub(super) answer_tokens: i64,
}

/// The envelope of a line that was validated before.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    custom_id: Cow<'a, str>,
    #[serde(borrow)]
    body: &'a RawValue,
}

/// The payload of a chunk, its requests read from the input again. Holds one chunk, and one line
/// written out in full.
pub(super) async fn payload(frame: &Frame<'_>, input: &Reader, chunk: &Chunk) -> Result<Bytes, Error> {
    let ordinals = frame.plan.ordinals(chunk);
    let lines = read(frame.scanned, input, ordinals).await?;
    let group = frame.groups.get(chunk.group as usize);
    let (Some(group), Some(head)) = (group, frame.heads.get(chunk.group as usize)) else {
        return Err(Error::Inconsistent);
    };
    let model = group.class.model as usize;
    let mut payload = v1::ChunkPayload {
        model: frame.scanned.models.get(model).cloned().unwrap_or_default(),
        endpoint: group.class.endpoint.as_str().to_owned(),
        strategy: frame.strategy.into(),
        context: frame.plan.contexts.get(model).map_or(0, |context| signed(context.0)),
        batch_tokens: frame.plan.batches.get(model).map_or(0, |batch| signed(batch.0)),
        prefix_tokens: i64::from(head.prefix_tokens),
        answer_tokens: frame.answer_tokens,
        ..Default::default()
    };
    let mut whole = String::new();
    for ordinal in ordinals {
        let place = place(frame.scanned, *ordinal)?;
        let changed = Error::Changed { line: place.line };
        let bytes = lines.get(&place.offset).ok_or(changed)?;
        let line = frame.defaults.map_or(&bytes[..], |defaults| defaults.expand(bytes, &mut whole));
        let envelope: Envelope<'_> =
            serde_json::from_slice(line).map_err(|_| Error::Changed { line: place.line })?;
        let parts = caravan_request::split(envelope.body.get(), group.shared_messages as usize)
            .map_err(|_| Error::Changed { line: place.line })?;
        if payload.shared.is_empty() {
            payload.shared = parts.head;
        } else if payload.shared != parts.head {
            // Requests that do not begin alike are never to be run as if they did.
            return Err(Error::Changed { line: place.line });
        }
        let planned = frame.scanned.requests.get(*ordinal as usize);
        payload.requests.push(v1::PayloadRequest {
            line: i64::from(place.line),
            custom_id: envelope.custom_id.into_owned(),
            body: parts.own,
            prompt_tokens: planned.map_or(0, |request| i64::from(request.prompt_tokens)),
            prompt_tokens_low: planned.map_or(0, |request| i64::from(request.prompt_tokens_low)),
        });
    }
    Ok(payload.encode_to_vec().into())
}

/// The lines of some requests, by where they begin.
async fn read(scanned: &Scanned, input: &Reader, ordinals: &[u32]) -> Result<HashMap<u64, Bytes>, Error> {
    let mut places =
        ordinals.iter().map(|ordinal| place(scanned, *ordinal)).collect::<Result<Vec<_>, _>>()?;
    places.sort_unstable_by_key(|place| place.offset);
    let ranges: Vec<Range<u64>> =
        places.iter().map(|place| place.offset..place.offset + u64::from(place.length)).collect();
    let lines = input.ranges(&ranges).await?;
    Ok(places.into_iter().map(|place| place.offset).zip(lines).collect())
}

/// The `custom_id` of a line.
pub(super) async fn custom_id(
    scanned: &Scanned,
    input: &Reader,
    ordinal: u32,
) -> Result<(Place, String), Error> {
    let place = place(scanned, ordinal)?;
    let lines = read(scanned, input, &[ordinal]).await?;
    let line = lines.get(&place.offset).and_then(|bytes| serde_json::from_slice::<Envelope<'_>>(bytes).ok());
    line.map(|line| (place, line.custom_id.into_owned())).ok_or(Error::Changed { line: place.line })
}

fn place(scanned: &Scanned, ordinal: u32) -> Result<Place, Error> {
    scanned.places.get(ordinal as usize).copied().ok_or(Error::Inconsistent)
}

fn signed(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}
