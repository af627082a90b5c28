use std::{cmp::Reverse, collections::BinaryHeap};

use bytes::BytesMut;
use caravan_proto::name::{BatchId, SegmentId};

use super::{Error, Record, SegmentReader, Source, encode};
use crate::objects::Objects;

/// Segments merged at once: bounds memory to this many windows.
const FAN_IN: usize = 64;

/// Many sources, each in line order, as one in line order.
pub(super) struct Merge {
    readers: Vec<SegmentReader>,
    /// Heads by line; the index breaks ties, so that equal lines keep the order of the sources.
    heads: BinaryHeap<Reverse<(i64, usize)>>,
    records: Vec<Option<Record>>,
}

/// Merges until at most `FAN_IN` sources are left, so that any number can be merged in
/// bounded memory. Writes objects that no row names: garbage, once they are read.
pub(super) async fn narrow(
    objects: &Objects,
    batch: BatchId,
    mut sources: Vec<Source>,
) -> Result<Vec<Source>, Error> {
    while sources.len() > FAN_IN {
        let mut narrower = Vec::with_capacity(sources.len().div_ceil(FAN_IN));
        for some in sources.chunks(FAN_IN) {
            narrower.push(merge_into_one(objects, batch, some).await?);
        }
        sources = narrower;
    }
    Ok(sources)
}

/// Writes several sources as one, in line order.
///
/// # Errors
/// If they cannot be read, or the one cannot be written.
pub async fn merge_into_one(objects: &Objects, batch: BatchId, sources: &[Source]) -> Result<Source, Error> {
    let segment = SegmentId::now();
    let mut merge = Merge::new(objects, sources).await?;
    let mut writer = objects.segment_writer(batch, segment);
    let mut to = 0;
    let mut buffer = BytesMut::new();
    while let Some(record) = merge.next().await? {
        encode(&record, &mut buffer);
        to += buffer.len() as u64;
        writer.write(&buffer).await?;
        buffer.clear();
    }
    writer.close().await?;
    Ok(Source { batch, segment, from: 0, to })
}

// === impl Merge ===

impl Merge {
    pub(super) async fn new(objects: &Objects, sources: &[Source]) -> Result<Self, Error> {
        let readers = sources.iter().map(|source| SegmentReader::new(objects.clone(), *source)).collect();
        let mut merge = Self { readers, heads: BinaryHeap::new(), records: vec![None; sources.len()] };
        for index in 0..sources.len() {
            merge.fetch(index).await?;
        }
        Ok(merge)
    }

    pub(super) async fn next(&mut self) -> Result<Option<Record>, Error> {
        let Some(Reverse((_, index))) = self.heads.pop() else { return Ok(None) };
        let record = self.records[index].take();
        self.fetch(index).await?;
        Ok(record)
    }

    async fn fetch(&mut self, index: usize) -> Result<(), Error> {
        if let Some(record) = self.readers[index].next().await? {
            self.heads.push(Reverse((record.line, index)));
            self.records[index] = Some(record);
        }
        Ok(())
    }
}
