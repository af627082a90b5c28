//! Segments of a batch whose rows were put together: a run. Its row is that of its last segment, so
//! the first row at or behind a number has the segment of that number, whether it is of one or of many.

use caravan_proto::name::BatchId;
use prost::Message as _;

use super::{
    super::{Connection, Row},
    cells::{Cells, key},
    messages::{Pieces, Run, Segment as Stored},
};
use crate::store::{Error, Segment};

/// Pieces that a run has at least. Default 1,024: a chunk has at most a thousand requests, so its results
/// take a row or two, however slowly they come; and a row has some tens of kilobytes.
pub(super) const PIECES: i64 = 1_024;

/// Puts the rows of the segments from `from` to `to` together. Nobody else commits to the batch meanwhile.
pub(super) async fn fold(tx: &mut Connection, id: BatchId, from: i64, to: i64) -> Result<(), Error> {
    const LOOSE: &str = "
        SELECT id, bytes, pieces FROM segments WHERE batch = $1 AND number >= $2 AND number < $3
        ORDER BY number";
    const DROP: &str = "DELETE FROM segments WHERE batch = $1 AND number >= $2 AND number < $3";
    const KEEP: &str = "UPDATE segments SET earlier = $3 WHERE batch = $1 AND number = $2";
    const FOLDED: &str = "UPDATE batches SET loose_from = $2, loose_pieces = 0 WHERE id = $1";

    let loose = |sql| sqlx::query(sql).bind(key(id)).bind(from).bind(to);
    let rows = loose(LOOSE).fetch_all(&mut *tx).await?;
    let stored = rows.iter().map(stored).collect::<Result<Vec<_>, Error>>()?;
    let run = Run { segments: stored }.encode_to_vec();
    loose(DROP).execute(&mut *tx).await?;
    sqlx::query(KEEP).bind(key(id)).bind(to).bind(run).execute(&mut *tx).await?;
    sqlx::query(FOLDED).bind(key(id)).bind(to + 1).execute(tx).await?;
    Ok(())
}

/// The segments in these rows that are wanted, in the order of the rows.
pub(super) fn segments(rows: &[Row], wanted: impl Fn(i64) -> bool) -> Result<Vec<Segment>, Error> {
    let mut segments = Vec::with_capacity(rows.len());
    for row in rows {
        let cells = Cells::of("segments", row);
        let number: i64 = cells.get("number")?;
        let earlier = cells.message::<Run>("earlier")?.segments;
        let first = number - i64::try_from(earlier.len()).unwrap_or(i64::MAX);
        let numbered = (first..).zip(earlier.into_iter().chain([stored(row)?]));
        for (number, segment) in numbered.filter(|(number, _)| wanted(*number)) {
            segments.push(segment.numbered(number)?);
        }
    }
    Ok(segments)
}

/// A row's own segment.
fn stored(row: &Row) -> Result<Stored, Error> {
    let cells = Cells::of("segments", row);
    let id: uuid::Uuid = cells.get("id")?;
    Ok(Stored {
        id: id.as_bytes().to_vec(),
        bytes: cells.get("bytes")?,
        pieces: cells.message::<Pieces>("pieces")?.values,
    })
}
