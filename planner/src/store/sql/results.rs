//! Segments and chunks, read and registered.

use std::collections::HashSet;

use caravan_proto::name::{BatchId, SegmentId};
use prost::Message as _;

use super::{
    super::{
        Connection, Database, Row, numbers,
        statements::{SEGMENTS_AT, UNCOMPACTED},
    },
    cells::{Cells, key},
    messages::{Numbers, Pieces},
    runs,
};
use crate::store::{Chunk, Compacted, Error, Piece, Segment};

/// Chunks with what is read of them.
macro_rules! chunks {
    ($which:literal) => {
        concat!(
            "SELECT number, plan_group, size, done_count, done, segments,
                    compacted, compacted_bytes, compacted_first_line
             FROM chunks ",
            $which
        )
    };
}

/// A segment to register under its number.
pub(super) struct Registration {
    pub(super) batch: BatchId,
    pub(super) number: i64,
    pub(super) id: SegmentId,
    pub(super) bytes: i64,
    pub(super) pieces: Vec<Piece>,
}

pub(super) async fn register(tx: &mut Connection, segment: Registration) -> Result<(), Error> {
    const REGISTER: &str = "
        INSERT INTO segments (batch, number, id, bytes, pieces) VALUES ($1, $2, $3, $4, $5)";

    sqlx::query(REGISTER)
        .bind(key(segment.batch))
        .bind(segment.number)
        .bind(key(segment.id))
        .bind(segment.bytes)
        .bind(Pieces::from(segment.pieces).encode_to_vec())
        .execute(tx)
        .await?;
    Ok(())
}

pub(super) async fn segments(
    store: &Database,
    id: BatchId,
    from: i64,
    limit: i64,
) -> Result<Vec<Segment>, Error> {
    const FROM: &str = "
        SELECT number, id, bytes, pieces, earlier FROM segments
        WHERE batch = $1 AND number >= $2 ORDER BY number LIMIT $3";

    /// Rows read at once: each may have as many segments as a run.
    const ROWS: i64 = 16;

    let (mut segments, mut next) = (Vec::new(), from);
    loop {
        let wanted = limit.saturating_sub(i64::try_from(segments.len()).unwrap_or(i64::MAX));
        let query = sqlx::query(FROM).bind(key(id)).bind(next).bind(wanted.min(ROWS));
        let rows = query.fetch_all(&store.read).await?;
        let found = runs::segments(&rows, |number| number >= next)?;
        let Some(last) = found.last() else { break };
        next = last.number + 1;
        segments.extend(found);
        if i64::try_from(segments.len()).is_ok_and(|all| all >= limit) {
            break;
        }
    }
    segments.truncate(usize::try_from(limit).unwrap_or_default());
    Ok(segments)
}

pub(super) async fn segments_at(
    store: &Database,
    id: BatchId,
    numbers: &[i64],
) -> Result<Vec<Segment>, Error> {
    let rows =
        sqlx::query(SEGMENTS_AT).bind(key(id)).bind(self::numbers(numbers)).fetch_all(&store.read).await?;
    let numbers: HashSet<i64> = numbers.iter().copied().collect();
    runs::segments(&rows, |number| numbers.contains(&number))
}

pub(super) async fn chunk(store: &Database, id: BatchId, number: i32) -> Result<Option<Chunk>, Error> {
    const ONE: &str = chunks!("WHERE batch = $1 AND number = $2");

    let row = sqlx::query(ONE).bind(key(id)).bind(number).fetch_optional(&store.read).await?;
    row.as_ref().map(decode).transpose()
}

pub(super) async fn chunks(
    store: &Database,
    id: BatchId,
    from: i32,
    limit: i64,
) -> Result<Vec<Chunk>, Error> {
    const FROM: &str = chunks!("WHERE batch = $1 AND number >= $2 ORDER BY number LIMIT $3");

    let rows = sqlx::query(FROM).bind(key(id)).bind(from).bind(limit).fetch_all(&store.read).await?;
    rows.iter().map(decode).collect()
}

pub(super) async fn uncompacted(store: &Database, limit: i64) -> Result<Vec<(BatchId, Chunk)>, Error> {
    let rows = sqlx::query(UNCOMPACTED).bind(limit).fetch_all(&store.read).await?;
    rows.iter().map(|row| Ok((Cells::of("chunks", row).id("batch")?, decode(row)?))).collect()
}

pub(super) async fn set_compacted(
    store: &Database,
    id: BatchId,
    number: i32,
    object: &Compacted,
) -> Result<bool, Error> {
    const SET: &str = "
        UPDATE chunks SET compacted = $3, compacted_bytes = $4, compacted_first_line = $5
        WHERE batch = $1 AND number = $2 AND state = 2 AND compacted IS NULL";

    let done = sqlx::query(SET)
        .bind(key(id))
        .bind(number)
        .bind(key(object.id))
        .bind(object.bytes)
        .bind(object.first_line)
        .execute(&store.write)
        .await?;
    Ok(done.rows_affected() == 1)
}

fn decode(row: &Row) -> Result<Chunk, Error> {
    let cells = Cells::of("chunks", row);
    let compacted = match cells.id_or_none("compacted")? {
        None => None,
        Some(id) => Some(Compacted {
            id,
            bytes: cells.get("compacted_bytes")?,
            first_line: cells.get("compacted_first_line")?,
        }),
    };
    Ok(Chunk {
        number: cells.get("number")?,
        group: cells.get("plan_group")?,
        size: cells.get("size")?,
        done_count: cells.get("done_count")?,
        done: cells.get("done")?,
        segments: cells.message::<Numbers>("segments")?.values,
        compacted,
    })
}
