use std::{cmp::Reverse, collections::BinaryHeap};

use crate::{Ratio, work::Pace};

/// The work of one group, and how many lanes share it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) group: u32,
    pub(crate) model: u32,
    pub(crate) requests: u32,
    /// First ordinal of the group in `Tally::ordinals`.
    pub(crate) start: u32,
    /// Tokens of the shared prefix.
    pub(crate) prefix_tokens: u64,
    pub(crate) pace: Pace,
    /// Of all requests, without the prefix.
    pub(crate) work: u64,
    /// Lanes that the group is spread over, at least 1.
    pub(crate) lanes: u32,
}

// === impl Load ===

impl Load {
    pub(crate) fn empty(group: u32, model: u32, prefix_tokens: u64, pace: Pace) -> Self {
        Self { group, model, requests: 0, start: 0, prefix_tokens, pace, work: 0, lanes: 1 }
    }

    pub(crate) fn prefix(&self) -> u64 {
        self.pace.work(self.prefix_tokens, 0)
    }

    /// Work of each of its lanes.
    pub(crate) fn share(&self) -> u64 {
        (self.work / u64::from(self.lanes)).saturating_add(self.prefix())
    }

    /// Its ordinals, in input order.
    pub(crate) fn ordinals<'o>(&self, all: &'o [u32]) -> &'o [u32] {
        let start = self.start as usize;
        all.get(start..start + self.requests as usize).unwrap_or_default()
    }
}

/// Gives each group its lanes, and puts the longest shares first. Returns the even part of one lane.
///
/// A batch cannot end before an even part of all its work, nor before its longest share. So as long
/// as the longest share is longer than the even part, its group takes one lane more, which reads the
/// prefix once more. If every lane has a share already, that only evens things out, and it must
/// leave each share `warm` times the prefix. At most one step a group and one a lane: O((g + l) log g).
pub(crate) fn spread(loads: &mut [Load], lanes: u32, warm: Ratio) -> u64 {
    let alone = loads.iter().map(|load| load.work.saturating_add(load.prefix()));
    let mut total = alone.fold(0, u64::saturating_add);
    let mut shares = loads.len();
    let mut longest: BinaryHeap<_> =
        loads.iter_mut().map(|load| ByShare(load.share(), Reverse(load.group), load)).collect();
    while let Some(ByShare(share, group, load)) = longest.pop() {
        if share <= total / u64::from(lanes) {
            break;
        }
        let idle = shares < lanes as usize;
        let narrower = load.work / u64::from(load.lanes + 1);
        let worth = idle || narrower >= warm.of(load.prefix());
        if worth && load.lanes < lanes.min(load.requests) {
            load.lanes += 1;
            shares += 1;
            total = total.saturating_add(load.prefix());
            longest.push(ByShare(load.share(), group, load));
        }
    }
    drop(longest);
    loads.sort_unstable_by_key(|load| (Reverse(load.share()), load.group));
    total / u64::from(lanes)
}

/// Heap order: the longest share, then the lowest group.
struct ByShare<'l>(u64, Reverse<u32>, &'l mut Load);

impl Ord for ByShare<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

impl PartialOrd for ByShare<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByShare<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for ByShare<'_> {}
