//! Results as they came from executors, made into a segment.

use bytes::{Bytes, BytesMut};
use caravan_proto::{
    name::{BatchId, SegmentId},
    v1::{self, request_result::Outcome},
};
use caravan_request::Source;

use super::{Record, encode};
use crate::store::{self, NewPiece, NewSegment};

/// A segment of these results, the records of a chunk together.
pub(super) fn segment(batch: BatchId, mut results: Vec<&v1::RequestResult>) -> (Bytes, NewSegment) {
    results.sort_by_key(|result| result.chunk);
    let mut bytes = BytesMut::new();
    let mut pieces = Vec::new();
    for same_chunk in results.chunk_by(|a, b| a.chunk == b.chunk) {
        let offset = bytes.len();
        for result in same_chunk {
            encode(&record(batch, result), &mut bytes);
        }
        pieces.push(NewPiece {
            chunk: same_chunk[0].chunk,
            offset: size(offset),
            bytes: size(bytes.len() - offset),
            records: same_chunk.iter().map(|result| counted(result)).collect(),
        });
    }
    let segment = NewSegment { id: SegmentId::now(), bytes: size(bytes.len()), pieces };
    (bytes.freeze(), segment)
}

fn record(batch: BatchId, result: &v1::RequestResult) -> Record {
    let id = format!("batch_req_{}_{}", batch.uuid().simple(), result.line);
    let error = |code: &str, message: &str| {
        let line = u64::try_from(result.line).ok();
        caravan_request::error_line(&id, Some(&result.custom_id), code, message, line, None)
    };
    let json = match &result.outcome {
        Some(Outcome::Response(response)) => {
            let status = u16::try_from(response.status_code).unwrap_or(500);
            let source = result.provenance.as_ref().map(|provenance| Source {
                engine_version: &provenance.engine_version,
                model_digest: &provenance.model_digest,
            });
            let (custom_id, body) = (&result.custom_id, &response.body);
            caravan_request::output_line(&id, custom_id, status, &result.lease_id, body, source)
        }
        Some(Outcome::Error(why)) => error(&why.code, &why.message),
        None => error("no_outcome", "the executor sent a result without an outcome"),
    };
    Record {
        line: result.line,
        custom_id: result.custom_id.clone(),
        succeeded: succeeded(result),
        index: result.index,
        json,
    }
}

fn succeeded(result: &v1::RequestResult) -> bool {
    matches!(&result.outcome, Some(Outcome::Response(response)) if response.status_code == 200)
}

fn counted(result: &v1::RequestResult) -> store::Record {
    store::Record {
        index: result.index,
        succeeded: succeeded(result),
        usage: result.usage.unwrap_or_default(),
    }
}

fn size(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
