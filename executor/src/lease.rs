//! A lease as its holder sees it.

use std::sync::Arc;

use caravan_proto::v1::{self, ChunkPayload, PayloadRequest};
use caravan_request::Endpoint;
use tokio_util::sync::CancellationToken;

/// Where a chunk runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LaneId {
    /// `Engine.id`.
    pub(crate) engine: Arc<str>,
    /// 0 to slots - 1.
    pub(crate) index: u32,
}

/// The right to run a range of a chunk. What the planner sent was checked.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) id: String,
    pub(crate) epoch: i64,
    pub(crate) batch: String,
    pub(crate) chunk: i32,
    pub(crate) warmth: Warmth,
    pub(crate) lane: LaneId,
    pub(crate) endpoint: Endpoint,
    pub(crate) payload: ChunkPayload,
    /// The digest that its batch is held to; none if any will do.
    pub(crate) digest: Option<String>,
    /// Indexes to run, in order.
    pub(crate) open: Vec<i32>,
    /// Set when the lease is lost or revoked: whoever works on it stops.
    pub(crate) stopped: CancellationToken,
}

/// The chunk whose prefix a lane is warm for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Warmth {
    pub(crate) batch: String,
    pub(crate) group: i32,
    pub(crate) share: i32,
}

/// What is wrong with a lease; the text is the reason of its hand-back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("no_payload")]
    Payload,
    #[error("range_outside_payload")]
    Range,
    #[error("unknown_endpoint")]
    Endpoint,
}

// === impl Lease ===

impl Lease {
    /// The same without what to run, for as long as only its results matter.
    pub(crate) fn spent(&self) -> Self {
        Self {
            id: self.id.clone(),
            epoch: self.epoch,
            batch: self.batch.clone(),
            chunk: self.chunk,
            warmth: self.warmth.clone(),
            lane: self.lane.clone(),
            endpoint: self.endpoint,
            payload: ChunkPayload::default(),
            digest: None,
            open: Vec::new(),
            stopped: self.stopped.clone(),
        }
    }

    /// A request of the payload.
    pub(crate) fn request(&self, index: i32) -> Option<&PayloadRequest> {
        self.payload.requests.get(usize::try_from(index).ok()?)
    }
}

impl TryFrom<v1::Lease> for Lease {
    type Error = Malformed;

    fn try_from(lease: v1::Lease) -> Result<Self, Malformed> {
        let payload = lease.payload.ok_or(Malformed::Payload)?;
        let endpoint = Endpoint::parse(&payload.endpoint).ok_or(Malformed::Endpoint)?;
        let total = i32::try_from(payload.requests.len()).map_err(|_| Malformed::Range)?;
        if lease.range_start < 0 || lease.range_end > total || lease.range_start > lease.range_end {
            return Err(Malformed::Range);
        }
        let open =
            (lease.range_start..lease.range_end).filter(|index| !is_done(&lease.done, *index)).collect();
        Ok(Self {
            id: lease.lease_id,
            epoch: lease.epoch,
            warmth: Warmth { batch: lease.batch.clone(), group: lease.group, share: lease.share },
            batch: lease.batch,
            chunk: lease.chunk,
            lane: LaneId {
                engine: lease.engine.into(),
                index: u32::try_from(lease.lane).unwrap_or(u32::MAX),
            },
            endpoint,
            payload,
            digest: lease.model_digest,
            open,
            stopped: CancellationToken::new(),
        })
    }
}

fn is_done(done: &[u8], index: i32) -> bool {
    usize::try_from(index)
        .is_ok_and(|index| done.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(range: std::ops::Range<i32>, done: &[u8]) -> v1::Lease {
        let requests = (0..12).map(|line| PayloadRequest { line, ..Default::default() }).collect();
        let payload = ChunkPayload { endpoint: "/api/chat".into(), requests, ..Default::default() };
        v1::Lease {
            range_start: range.start,
            range_end: range.end,
            done: done.to_vec(),
            payload: Some(payload),
            ..Default::default()
        }
    }

    #[test]
    fn what_is_done_or_outside_the_range_is_not_open() {
        let lease = Lease::try_from(lease(1..11, &[0b0000_0110, 0b0000_0010])).unwrap();
        assert_eq!(lease.open, [3, 4, 5, 6, 7, 8, 10]);
    }

    #[test]
    fn a_lease_is_checked() {
        assert_eq!(Lease::try_from(lease(0..13, &[])).err(), Some(Malformed::Range));
        assert_eq!(Lease::try_from(lease(-1..3, &[])).err(), Some(Malformed::Range));
        let none = v1::Lease { payload: None, ..lease(0..1, &[]) };
        assert_eq!(Lease::try_from(none).err(), Some(Malformed::Payload));
        let mut other = lease(0..1, &[]);
        other.payload.as_mut().unwrap().endpoint = "/v1/responses".into();
        assert_eq!(Lease::try_from(other).err(), Some(Malformed::Endpoint));
    }
}
