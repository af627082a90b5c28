use bytes::BytesMut;
use caravan_proto::name::{BatchId, SegmentId};

use super::{Error, Record, SegmentReader, Source, encode};
use crate::{
    objects::{Fault, Objects},
    store::{Chunk, Compacted, Piece, Segment, Store},
};

/// Writes all results of a finished chunk as one segment in line order.
/// Holds the results of one chunk in memory.
///
/// # Errors
/// If its pieces cannot be read or the segment cannot be written.
pub async fn compact(
    store: &dyn Store,
    objects: &Objects,
    batch: BatchId,
    chunk: &Chunk,
) -> Result<(), Error> {
    let mut records = Vec::with_capacity(usize::try_from(chunk.size).unwrap_or_default());
    for segment in store.segments_at(batch, &chunk.segments).await? {
        for piece in segment.pieces.iter().filter(|piece| piece.chunk == Some(chunk.number)) {
            read_piece(objects, batch, &segment, piece, &mut records).await?;
        }
    }
    if i64::try_from(records.len()) != Ok(i64::from(chunk.size)) {
        let object = format!("segments of chunk {} of {batch}", chunk.number);
        let what = format!("they hold {} of {} results", records.len(), chunk.size);
        return Err(Error::Objects(Fault::Damaged { object, what }.into()));
    }
    records.sort_unstable_by_key(|record: &Record| record.line);
    let mut bytes = BytesMut::new();
    for record in &records {
        encode(record, &mut bytes);
    }
    let compacted = Compacted {
        id: SegmentId::now(),
        bytes: i64::try_from(bytes.len()).unwrap_or(i64::MAX),
        first_line: records.first().map_or(0, |record| record.line),
    };
    objects.put_segment(batch, compacted.id, bytes.freeze()).await?;
    // If another replica was faster, this object is garbage that nothing names.
    store.set_compacted(batch, chunk.number, &compacted).await?;
    Ok(())
}

/// Reads the records of a piece that its segment made final.
pub(super) async fn read_piece(
    objects: &Objects,
    batch: BatchId,
    segment: &Segment,
    piece: &Piece,
    into: &mut Vec<Record>,
) -> Result<(), Error> {
    let (from, bytes) = (piece.offset.unsigned_abs(), piece.bytes.unsigned_abs());
    let source = Source { batch, segment: segment.id, from, to: from + bytes };
    let mut reader = SegmentReader::new(objects.clone(), source);
    let mut position = 0;
    while let Some(record) = reader.next().await? {
        if is_final(piece, position) {
            into.push(record);
        }
        position += 1;
    }
    Ok(())
}

/// Whether the piece's segment made this record final; an empty mask says all.
pub(super) fn is_final(piece: &Piece, position: usize) -> bool {
    piece.mask.is_empty()
        || piece.mask.get(position / 8).is_some_and(|byte| byte & (1 << (position % 8)) != 0)
}
