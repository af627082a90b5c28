//! How objects are named: by what they belong to, so that what has no row can be found.

use caravan_proto::name::{BatchId, FileId, PlanId, SegmentId};
use object_store::path::Path as Key;

/// Ends the name of an object whose blocks carry checksums; objects of earlier versions lack it.
const SEALED: &str = ".sealed";

/// What an object is, as its name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A part of a file.
    Part {
        /// The file.
        file: FileId,
        /// Number of the part, from 0.
        part: i64,
        /// Its bytes.
        size: i64,
    },
    /// The payload of a chunk.
    Payload {
        /// The batch.
        batch: BatchId,
        /// The plan that it belongs to; none before plans had names.
        plan: Option<PlanId>,
    },
    /// A segment.
    Segment {
        /// The batch.
        batch: BatchId,
        /// Which.
        segment: SegmentId,
    },
    /// What was written to see whether it can be.
    Probe,
}

pub(super) fn part(file: FileId, part: i64, size: u64) -> Key {
    Key::from(format!("{}/{part:06}-{size}{SEALED}", below_file(file)))
}

pub(super) fn payload(batch: BatchId, plan: Option<PlanId>, chunk: i32) -> Key {
    let below = below_batch(batch);
    match plan {
        Some(plan) => Key::from(format!("{below}/plans/{plan}/{chunk:06}{SEALED}")),
        None => Key::from(format!("{below}/chunks/{chunk:06}{SEALED}")),
    }
}

pub(super) fn segment(batch: BatchId, segment: SegmentId) -> Key {
    Key::from(format!("{}/segments/{segment}{SEALED}", below_batch(batch)))
}

pub(super) fn vocabulary(name: &str) -> Key {
    Key::from(format!("vocabularies/{name}"))
}

pub(super) fn owner() -> Key {
    Key::from("owner")
}

pub(super) fn probe() -> Key {
    Key::from(format!("probe/{}", uuid::Uuid::now_v7().simple()))
}

pub(super) fn below_file(file: FileId) -> Key {
    Key::from(format!("files/{file}"))
}

pub(super) fn below_batch(batch: BatchId) -> Key {
    Key::from(format!("batches/{batch}"))
}

/// The name that an earlier version gave.
pub(super) fn unsealed(key: &Key) -> Key {
    Key::from(key.as_ref().trim_end_matches(SEALED))
}

/// What a name says; none if no planner gives such a name, or if it is never garbage.
pub(super) fn parse(key: &Key) -> Option<Kind> {
    let name = key.as_ref().trim_end_matches(SEALED);
    match *name.split('/').collect::<Vec<_>>() {
        ["files", file, part] => {
            let (part, size) = part.split_once('-')?;
            Some(Kind::Part { file: file.parse().ok()?, part: part.parse().ok()?, size: size.parse().ok()? })
        }
        ["batches", batch, "plans", plan, _] => {
            Some(Kind::Payload { batch: batch.parse().ok()?, plan: Some(plan.parse().ok()?) })
        }
        ["batches", batch, "chunks", _] => Some(Kind::Payload { batch: batch.parse().ok()?, plan: None }),
        ["batches", batch, "segments", segment] => {
            Some(Kind::Segment { batch: batch.parse().ok()?, segment: segment.parse().ok()? })
        }
        ["probe", _] => Some(Kind::Probe),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_an_object_is() {
        let (batch, file) = (BatchId::now(), FileId::now());
        let (of_plan, of_segment) = (PlanId::now(), SegmentId::now());
        for (key, kind) in [
            (part(file, 7, 123), Kind::Part { file, part: 7, size: 123 }),
            (payload(batch, Some(of_plan), 3), Kind::Payload { batch, plan: Some(of_plan) }),
            (payload(batch, None, 3), Kind::Payload { batch, plan: None }),
            (segment(batch, of_segment), Kind::Segment { batch, segment: of_segment }),
            (probe(), Kind::Probe),
        ] {
            assert_eq!(parse(&key), Some(kind), "{key}");
            assert_eq!(parse(&unsealed(&key)), Some(kind), "{key}");
        }
    }

    #[test]
    fn what_the_planner_does_not_name_is_nothing_of_its() {
        for name in ["vocabularies/ab", "files/readme", "files/file_1/0-1", "batches", "backup/x", "probe"] {
            assert_eq!(parse(&Key::from(name)), None, "{name}");
        }
    }
}
