use std::collections::VecDeque;

use bytes::{Buf as _, Bytes, BytesMut};
use caravan_proto::name::{BatchId, SegmentId};
use prost::Message as _;

use super::Error;
use crate::objects::{Fault, Objects};

/// Bytes read of a segment at a time: with a merge of 64 segments, 16 MiB.
const WINDOW_BYTES: u64 = 256 << 10;

/// One result as it stands in a segment, length-delimited.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Record {
    /// Line in the input, from 1.
    #[prost(int64, tag = "1")]
    pub line: i64,
    /// The request's `custom_id`.
    #[prost(string, tag = "2")]
    pub custom_id: String,
    /// Answered.
    #[prost(bool, tag = "3")]
    pub succeeded: bool,
    /// Index into its chunk; -1 for a line that never was in one.
    #[prost(int32, tag = "4")]
    pub index: i32,
    /// The output line.
    #[prost(string, tag = "5")]
    pub json: String,
}

/// Appends a record to a segment.
pub fn encode(record: &Record, segment: &mut BytesMut) {
    let room = record.encoded_len() + 10;
    segment.reserve(room);
    // The only error is a buffer without room, and a BytesMut grows.
    let _grows = record.encode_length_delimited(segment);
}

/// Where records stand: a range of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// The batch.
    pub batch: BatchId,
    /// The segment.
    pub segment: SegmentId,
    /// First byte.
    pub from: u64,
    /// One past the last byte.
    pub to: u64,
}

/// Reads records one after the other. Holds one window of bytes, or one record if that is larger.
#[derive(Debug)]
pub struct SegmentReader {
    objects: Objects,
    source: Source,
    buffer: BytesMut,
    ready: VecDeque<Record>,
}

// === impl SegmentReader ===

impl SegmentReader {
    /// A reader of `source`.
    #[must_use]
    pub fn new(objects: Objects, source: Source) -> Self {
        Self { objects, source, buffer: BytesMut::new(), ready: VecDeque::new() }
    }

    /// The next record.
    ///
    /// # Errors
    /// If the segment cannot be read, or ends inside a record.
    pub async fn next(&mut self) -> Result<Option<Record>, Error> {
        loop {
            if let Some(record) = self.ready.pop_front() {
                return Ok(Some(record));
            }
            let wanted = self.decode()?;
            if !self.ready.is_empty() {
                continue;
            }
            if self.source.from == self.source.to {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(self.damaged("it ends inside a record"))
                };
            }
            let to = self.source.to.min(self.source.from + WINDOW_BYTES.max(wanted));
            let bytes: Bytes =
                self.objects.segment(self.source.batch, self.source.segment, self.source.from..to).await?;
            self.source.from = to;
            self.buffer.extend_from_slice(&bytes);
        }
    }

    /// Decodes the records that are whole; gives the bytes that the next one lacks.
    fn decode(&mut self) -> Result<u64, Error> {
        loop {
            let mut rest = &self.buffer[..];
            let Ok(length) = prost::decode_length_delimiter(&mut rest) else {
                // A length takes ten bytes at most: with more there, it is no length.
                return if self.buffer.len() > 10 { Err(self.damaged("a length is wrong")) } else { Ok(10) };
            };
            if rest.len() < length {
                return Ok((length - rest.len()) as u64);
            }
            let header = self.buffer.len() - rest.len();
            self.buffer.advance(header);
            let bytes = self.buffer.split_to(length);
            let record = Record::decode(bytes.freeze()).map_err(|error| self.damaged(&error.to_string()))?;
            self.ready.push_back(record);
        }
    }

    fn damaged(&self, what: &str) -> Error {
        let Source { batch, segment, .. } = self.source;
        let fault = Fault::Damaged { object: format!("{segment} of {batch}"), what: what.to_owned() };
        Error::Objects(fault.into())
    }
}
