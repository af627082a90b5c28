//! What is stored encoded and is not in the contract. Tags stay for ever: old rows are read by new code.

use caravan_proto::v1;
use uuid::Uuid;

use crate::store::{self, Error};

/// A list of numbers.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Numbers {
    #[prost(int64, repeated, tag = "1")]
    pub(super) values: Vec<i64>,
}

/// A list of line errors.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct LineErrors {
    #[prost(message, repeated, tag = "1")]
    pub(super) values: Vec<v1::LineError>,
}

/// The index of a segment.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Pieces {
    #[prost(message, repeated, tag = "1")]
    pub(super) values: Vec<Piece>,
}

/// As `store::Piece`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Piece {
    #[prost(int32, optional, tag = "1")]
    chunk: Option<i32>,
    #[prost(int64, tag = "2")]
    offset: i64,
    #[prost(int64, tag = "3")]
    bytes: i64,
    #[prost(int64, tag = "4")]
    records: i64,
    #[prost(bytes = "vec", tag = "5")]
    mask: Vec<u8>,
}

/// Segments that follow each other.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Run {
    #[prost(message, repeated, tag = "1")]
    pub(super) segments: Vec<Segment>,
}

/// As `store::Segment`, without the number that its place tells.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Segment {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) id: Vec<u8>,
    #[prost(int64, tag = "2")]
    pub(super) bytes: i64,
    #[prost(message, repeated, tag = "3")]
    pub(super) pieces: Vec<Piece>,
}

// === impl Segment ===

impl Segment {
    pub(super) fn numbered(self, number: i64) -> Result<store::Segment, Error> {
        let wrong = |error: uuid::Error| Error::Corrupt { table: "segments", what: error.to_string() };
        let id = Uuid::from_slice(&self.id).map_err(wrong)?.into();
        Ok(store::Segment { number, id, bytes: self.bytes, pieces: Pieces { values: self.pieces }.into() })
    }
}

// === impl Pieces ===

impl From<Vec<store::Piece>> for Pieces {
    fn from(pieces: Vec<store::Piece>) -> Self {
        let piece = |store::Piece { chunk, offset, bytes, records, mask }| Piece {
            chunk,
            offset,
            bytes,
            records,
            mask,
        };
        Self { values: pieces.into_iter().map(piece).collect() }
    }
}

impl From<Pieces> for Vec<store::Piece> {
    fn from(pieces: Pieces) -> Self {
        let piece = |Piece { chunk, offset, bytes, records, mask }| store::Piece {
            chunk,
            offset,
            bytes,
            records,
            mask,
        };
        pieces.values.into_iter().map(piece).collect()
    }
}
