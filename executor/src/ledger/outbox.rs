//! Results that the planner has not acknowledged.

use std::collections::{BTreeMap, HashMap};

use caravan_proto::v1::{ChunkAck, RequestResult};
use prost::Message as _;
use tokio::time::Instant;

/// Results in the order in which they ended, each kept until it is acked. What was not
/// sent on this stream is everything from `unsent` on: after a break, all of it.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    results: BTreeMap<u64, Kept>,
    by_request: HashMap<(String, i32, i32), u64>,
    bytes: usize,
    next: u64,
    unsent: u64,
}

#[derive(Debug)]
struct Kept {
    result: RequestResult,
    bytes: usize,
    ended: Instant,
}

// === impl Outbox ===

impl Outbox {
    /// Keeps a result. A second one of the same request is dropped: the first decides.
    pub(super) fn keep(&mut self, result: RequestResult) -> bool {
        let request = (result.batch.clone(), result.chunk, result.index);
        if self.by_request.contains_key(&request) {
            return false;
        }
        let bytes = result.encoded_len();
        self.by_request.insert(request, self.next);
        self.results.insert(self.next, Kept { result, bytes, ended: Instant::now() });
        self.bytes += bytes;
        self.next += 1;
        true
    }

    /// Forgets what is safe; the leases that the results ran under.
    pub(super) fn forget(&mut self, acked: &ChunkAck) -> Vec<String> {
        let request = |index: &i32| (acked.batch.clone(), acked.chunk, *index);
        let numbers = acked.indexes.iter().filter_map(|index| self.by_request.remove(&request(index)));
        let kept = numbers.filter_map(|number| self.results.remove(&number)).collect::<Vec<_>>();
        self.bytes -= kept.iter().map(|kept| kept.bytes).sum::<usize>();
        kept.into_iter().map(|kept| kept.result.lease_id).collect()
    }

    /// The next results to send: as many as `bytes` hold, at least one if there is one.
    pub(super) fn send(&mut self, bytes: usize) -> Vec<RequestResult> {
        let (mut results, mut size) = (Vec::new(), 0);
        for (number, kept) in self.results.range(self.unsent..) {
            size += kept.bytes;
            if size > bytes && !results.is_empty() {
                break;
            }
            results.push(kept.result.clone());
            self.unsent = number + 1;
        }
        results
    }

    /// The stream broke: all of it is to be sent again.
    pub(super) fn send_again(&mut self) {
        self.unsent = 0;
    }

    /// Whether something is to be sent.
    pub(super) fn has_unsent(&self) -> bool {
        self.results.range(self.unsent..).next().is_some()
    }

    /// Results kept.
    pub(super) fn len(&self) -> usize {
        self.results.len()
    }

    /// Bytes of the results kept.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the oldest ended.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.results.values().next().map(|kept| kept.ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(index: i32) -> RequestResult {
        RequestResult { lease_id: "l".into(), batch: "b".into(), index, ..Default::default() }
    }

    fn acked(indexes: &[i32]) -> ChunkAck {
        ChunkAck { batch: "b".into(), chunk: 0, indexes: indexes.to_vec() }
    }

    fn indexes(results: &[RequestResult]) -> Vec<i32> {
        results.iter().map(|r| r.index).collect()
    }

    #[test]
    fn only_unacked_results_are_sent_again() {
        let mut outbox = Outbox::default();
        assert!((0..4).all(|index| outbox.keep(result(index))));
        assert_eq!(indexes(&outbox.send(usize::MAX)), [0, 1, 2, 3]);
        assert!(!outbox.has_unsent());
        assert_eq!(outbox.forget(&acked(&[1, 3, 9])), ["l", "l"]);
        assert!(outbox.send(usize::MAX).is_empty());
        outbox.send_again();
        assert_eq!(indexes(&outbox.send(usize::MAX)), [0, 2]);
    }

    #[test]
    fn a_second_result_of_a_request_is_dropped_until_the_first_is_acked() {
        let mut outbox = Outbox::default();
        assert!(outbox.keep(result(0)));
        assert!(!outbox.keep(result(0)));
        outbox.forget(&acked(&[0]));
        assert_eq!((outbox.len(), outbox.bytes(), outbox.oldest()), (0, 0, None));
    }

    #[test]
    fn messages_are_bounded_but_never_empty() {
        let mut outbox = Outbox::default();
        (0..3).for_each(|index| assert!(outbox.keep(result(index))));
        let two = result(0).encoded_len() + result(1).encoded_len();
        assert_eq!(indexes(&outbox.send(two)), [0, 1]);
        assert_eq!(indexes(&outbox.send(1)), [2]);
        assert!(outbox.send(1).is_empty());
    }
}
