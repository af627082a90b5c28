//! Which results of a segment are new. Pure: every backend asks this under its lock.

use std::collections::BTreeMap;

use super::{NewPiece, NewSegment, Piece, Tally, bits};

/// A chunk as a commit finds it, and as it leaves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Home {
    /// The model of all its requests.
    pub(super) model: String,
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
    /// What is new, by model.
    pub(super) models: BTreeMap<String, Tally>,
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
    /// What is new, of all models.
    pub(super) fn total(&self) -> Tally {
        self.models.values().fold(Tally::default(), |sum, tally| sum.and(tally))
    }

    fn take(&mut self, piece: &NewPiece, home: &mut Home) {
        let mut fresh = Tally::default();
        let mut mask = bits::clear(piece.records.len());
        for (position, record) in piece.records.iter().enumerate() {
            if home.set(record.index) {
                bits::set(&mut mask, position);
                fresh.add(record);
            }
        }
        let records = i64::try_from(piece.records.len()).unwrap_or(i64::MAX);
        let new = fresh.requests();
        if new > 0 {
            let tally = self.models.entry(home.model.clone()).or_default();
            *tally = tally.and(&fresh);
            self.pieces.push(Piece {
                chunk: Some(piece.chunk),
                offset: piece.offset,
                bytes: piece.bytes,
                records,
                mask: if new == records { Vec::new() } else { mask },
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use caravan_proto::{name::SegmentId, v1};

    use super::*;
    use crate::store::Record;

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
        Home { model: "m".into(), size, done_count: 0, done: vec![0; 2], fresh: 0 }
    }

    #[test]
    fn a_result_counts_once_wherever_its_twin_stands() {
        let other = Home { model: "other".into(), ..home(10) };
        let mut homes = BTreeMap::from([(0, home(10)), (1, other)]);
        let accepted = accept(&segment(&[(0, &[1, 1, 9]), (1, &[1]), (0, &[9])]), &mut homes);
        assert_eq!(accepted.total().requests(), 3);
        let models: Vec<_> =
            accepted.models.iter().map(|(model, tally)| (&**model, tally.requests())).collect();
        assert_eq!(models, [("m", 2), ("other", 1)]);
        assert_eq!(accepted.pieces.len(), 2, "a piece without anything new is left out");
        assert_eq!(accepted.pieces[0].mask, [0b101]);
        assert!(accepted.pieces[1].mask.is_empty(), "an empty mask is all");
        assert_eq!(homes[&0], Home { done_count: 2, done: vec![0b10, 0b10], fresh: 2, ..home(10) });
    }

    #[test]
    fn results_from_nowhere_are_never_new() {
        let mut homes = BTreeMap::from([(0, home(10))]);
        let accepted = accept(&segment(&[(0, &[10, 15, -1, i32::MAX]), (7, &[0])]), &mut homes);
        assert!(accepted.pieces.is_empty() && accepted.models.is_empty(), "{accepted:?}");
        assert_eq!(homes[&0], home(10));
    }
}
