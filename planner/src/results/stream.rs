use std::{collections::VecDeque, sync::Arc};

use caravan_proto::name::BatchId;

use super::{Cursor, Error, Record, SegmentReader, Source, compact::is_final, merge, output};
use crate::{
    objects::Objects,
    store::{Piece, Segment, Store},
};

/// Records of a page at most.
const PAGE_RECORDS: usize = 256;
/// A page ends once it holds this many bytes; it may pass them by one record.
const PAGE_BYTES: usize = 1 << 20;
/// Segments looked up at once: many may share a row, which is read whole for each look.
const SEGMENTS_AHEAD: i64 = 16;

/// Some results, and where to go on behind them.
pub struct Page {
    /// In the order asked for.
    pub records: Vec<Record>,
    /// Behind the last of them.
    pub cursor: Cursor,
}

/// Reads a batch's results page by page. Holds one page, the windows of its readers, and where the pieces of
/// `SEGMENTS_AHEAD` segments are.
pub struct Pages {
    store: Arc<dyn Store>,
    objects: Objects,
    batch: BatchId,
    place: Place,
}

enum Place {
    Committed(Box<Committed>),
    Input { line: i64, merge: Option<merge::Merge> },
}

/// Segments in the order in which they were committed.
struct Committed {
    segment: i64,
    records: i64,
    open: Option<OpenSegment>,
    ahead: VecDeque<Segment>,
}

/// A segment that is being read, piece after piece.
struct OpenSegment {
    segment: Segment,
    piece: usize,
    reader: Option<SegmentReader>,
    position: usize,
    /// Final records read so far, those that the cursor skips included.
    seen: i64,
}

// === impl Pages ===

impl Pages {
    /// Pages behind `cursor`, in its order.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, objects: Objects, cursor: Cursor) -> Self {
        let place = match cursor {
            Cursor::Committed { segment, records, .. } => {
                let ahead = VecDeque::new();
                Place::Committed(Box::new(Committed { segment, records, open: None, ahead }))
            }
            Cursor::Input { line, .. } => Place::Input { line, merge: None },
        };
        Self { store, objects, batch: cursor.batch(), place }
    }

    /// The next page; without records if there is nothing further now. In input order, call it only
    /// once the batch has ended.
    ///
    /// # Errors
    /// If rows or segments cannot be read.
    pub async fn next(&mut self) -> Result<Page, Error> {
        let mut records = Vec::new();
        let mut bytes = 0;
        while records.len() < PAGE_RECORDS && bytes < PAGE_BYTES {
            let Some(record) = self.record().await? else { break };
            bytes += record.json.len() + record.custom_id.len();
            records.push(record);
        }
        let batch = self.batch;
        let cursor = match &self.place {
            Place::Committed(at) => Cursor::Committed { batch, segment: at.segment, records: at.records },
            Place::Input { line, .. } => Cursor::Input { batch, line: *line },
        };
        Ok(Page { records, cursor })
    }

    async fn record(&mut self) -> Result<Option<Record>, Error> {
        let Self { store, objects, batch, place } = self;
        match place {
            Place::Committed(committed) => committed.next(&**store, objects, *batch).await,
            Place::Input { line, merge } => {
                if merge.is_none() {
                    let sources = output::sources(&**store, *batch).await?;
                    let sources = merge::narrow(objects, *batch, sources).await?;
                    *merge = Some(merge::Merge::new(objects, &sources).await?);
                }
                let Some(merge) = merge else { return Ok(None) };
                while let Some(record) = merge.next().await? {
                    if record.line > *line {
                        *line = record.line;
                        return Ok(Some(record));
                    }
                }
                Ok(None)
            }
        }
    }
}

// === impl Committed ===

impl Committed {
    async fn next(
        &mut self,
        store: &dyn Store,
        objects: &Objects,
        batch: BatchId,
    ) -> Result<Option<Record>, Error> {
        loop {
            if let Some(current) = &mut self.open {
                while let Some(record) = current.next(objects, batch).await? {
                    if current.seen > self.records {
                        self.records = current.seen;
                        return Ok(Some(record));
                    }
                }
                (self.segment, self.records, self.open) = (self.segment + 1, 0, None);
            }
            if self.ahead.is_empty() {
                self.ahead.extend(store.segments(batch, self.segment, SEGMENTS_AHEAD).await?);
            }
            let Some(segment) = self.ahead.pop_front() else { return Ok(None) };
            self.open = Some(OpenSegment { segment, piece: 0, reader: None, position: 0, seen: 0 });
        }
    }
}

// === impl OpenSegment ===

impl OpenSegment {
    /// The next record that the segment made final.
    async fn next(&mut self, objects: &Objects, batch: BatchId) -> Result<Option<Record>, Error> {
        while let Some(piece) = self.segment.pieces.get(self.piece) {
            let reader = self.reader.get_or_insert_with(|| {
                SegmentReader::new(objects.clone(), source(batch, &self.segment, piece))
            });
            while let Some(record) = reader.next().await? {
                self.position += 1;
                if is_final(piece, self.position - 1) {
                    self.seen += 1;
                    return Ok(Some(record));
                }
            }
            (self.piece, self.reader, self.position) = (self.piece + 1, None, 0);
        }
        Ok(None)
    }
}

fn source(batch: BatchId, segment: &Segment, piece: &Piece) -> Source {
    let from = piece.offset.unsigned_abs();
    Source { batch, segment: segment.id, from, to: from + piece.bytes.unsigned_abs() }
}
