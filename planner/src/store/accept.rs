//! Which results of a segment are new. Pure: every backend asks this under its lock.

use std::collections::BTreeMap;

use caravan_proto::v1;

use super::{NewPiece, NewSegment, Piece, Record, bits, usage};

/// A chunk as a commit finds it, and as it leaves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Home {
    /// Requests.
    pub(super) size: i32,
    /// Requests that are final.
    pub(super) done_count: i32,
    /// A bit a request.
    pub(super) done: Vec<u8>,
    /// Requests that this commit makes final.
    pub(super) fresh: i32,
}

/// What a commit adds to its batch.
#[derive(Debug, Default)]
pub(super) struct Accepted {
    /// Pieces with at least one new result, with their masks.
    pub(super) pieces: Vec<Piece>,
    /// New answers.
    pub(super) succeeded: i64,
    /// New failures.
    pub(super) failed: i64,
    /// Tokens of both.
    pub(super) usage: v1::Usage,
}

/// Sets the bits that are still clear and says what that made final. Results of a chunk that is
/// not among `homes`, or outside of their chunk, are never new.
pub(super) fn accept(segment: &NewSegment, homes: &mut BTreeMap<i32, Home>) -> Accepted {
    let mut accepted = Accepted::default();
    for piece in &segment.pieces {
        if let Some(home) = homes.get_mut(&piece.chunk) {
            accepted.take(piece, home);
        }
    }
    accepted
}

// === impl Home ===

impl Home {
    /// Whether every request is final.
    pub(super) fn is_done(&self) -> bool {
        self.done_count == self.size
    }

    fn set(&mut self, index: i32) -> bool {
        let new = (0..self.size).contains(&index)
            && usize::try_from(index).is_ok_and(|index| bits::set(&mut self.done, index));
        if new {
            self.done_count += 1;
            self.fresh += 1;
        }
        new
    }
}

// === impl Accepted ===

impl Accepted {
    /// New results.
    pub(super) fn count(&self) -> i64 {
        self.succeeded + self.failed
    }

    fn take(&mut self, piece: &NewPiece, home: &mut Home) {
        let before = home.fresh;
        let mut mask = bits::clear(piece.records.len());
        for (position, record) in piece.records.iter().enumerate() {
            if home.set(record.index) {
                bits::set(&mut mask, position);
                self.add(record);
            }
        }
        let records = i64::try_from(piece.records.len()).unwrap_or(i64::MAX);
        let new = i64::from(home.fresh - before);
        if new > 0 {
            self.pieces.push(Piece {
                chunk: Some(piece.chunk),
                offset: piece.offset,
                bytes: piece.bytes,
                records,
                mask: if new == records { Vec::new() } else { mask },
            });
        }
    }

    fn add(&mut self, record: &Record) {
        self.usage = usage::sum(&self.usage, &record.usage);
        if record.succeeded {
            self.succeeded += 1;
        } else {
            self.failed += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use caravan_proto::name::SegmentId;

    use super::*;

    fn segment(pieces: &[(i32, &[i32])]) -> NewSegment {
        let record = |&index: &i32| Record { index, succeeded: true, usage: v1::Usage::default() };
        let piece = |&(chunk, indexes): &(i32, &[i32])| NewPiece {
            chunk,
            offset: 0,
            bytes: 1,
            records: indexes.iter().map(record).collect(),
        };
        NewSegment { id: SegmentId::now(), bytes: 1, pieces: pieces.iter().map(piece).collect() }
    }

    fn home(size: i32) -> Home {
        Home { size, done_count: 0, done: vec![0; 2], fresh: 0 }
    }

    #[test]
    fn a_result_counts_once_wherever_its_twin_stands() {
        let mut homes = BTreeMap::from([(0, home(10)), (1, home(10))]);
        let accepted = accept(&segment(&[(0, &[1, 1, 9]), (1, &[1]), (0, &[9])]), &mut homes);
        assert_eq!(accepted.count(), 3);
        assert_eq!(accepted.pieces.len(), 2, "a piece without anything new is left out");
        assert_eq!(accepted.pieces[0].mask, [0b101]);
        assert!(accepted.pieces[1].mask.is_empty(), "an empty mask is all");
        assert_eq!(homes[&0], Home { size: 10, done_count: 2, done: vec![0b10, 0b10], fresh: 2 });
    }

    #[test]
    fn results_from_nowhere_are_never_new() {
        let mut homes = BTreeMap::from([(0, home(10))]);
        assert_eq!(accept(&segment(&[(0, &[10, 15, -1, i32::MAX]), (7, &[0])]), &mut homes).count(), 0);
        assert_eq!(homes[&0], home(10));
    }
}
