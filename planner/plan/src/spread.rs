use std::{cmp::Reverse, collections::BinaryHeap};

use crate::{Ratio, Reuse, reuse::OwnParts, size::Size, work::Pace};

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
    /// Whether the prefix is evaluated once a lane, or with every request.
    pub(crate) reuse: Reuse,
    pub(crate) own_parts: OwnParts,
    pub(crate) pace: Pace,
    /// Prompt tokens of all requests, without a prefix that is kept.
    prompt_tokens: u64,
    /// Answer tokens of all requests.
    answer_tokens: u64,
    /// Lanes that the group is spread over, at least 1.
    pub(crate) lanes: u32,
}

// === impl Load ===

impl Load {
    pub(crate) fn empty(group: u32, model: u32, prefix_tokens: u64, pace: Pace) -> Self {
        let (requests, start, reuse, own_parts, prompt_tokens, answer_tokens) = Default::default();
        Self {
            group,
            model,
            requests,
            start,
            prefix_tokens,
            reuse,
            own_parts,
            pace,
            prompt_tokens,
            answer_tokens,
            lanes: 1,
        }
    }

    /// Tokens that a lane evaluates once for all of its requests.
    pub(crate) fn kept_tokens(&self) -> u64 {
        if self.reuse == Reuse::Kept { self.prefix_tokens } else { 0 }
    }

    /// Prompt tokens that a request evaluates on a lane that has read what is kept.
    pub(crate) fn evaluated(&self, size: Size) -> u64 {
        (self.prefix_tokens - self.kept_tokens()).saturating_add(size.own)
    }

    /// Work of reading what is kept.
    pub(crate) fn prefix(&self) -> u64 {
        self.pace.work(0, self.kept_tokens(), 0)
    }

    /// Work of all requests, without a prefix that is kept.
    pub(crate) fn work(&self) -> u64 {
        self.pace.work(self.requests.into(), self.prompt_tokens, self.answer_tokens)
    }

    /// Work of the whole group at another pace, each of its lanes reading what is kept.
    pub(crate) fn work_at(&self, pace: &Pace) -> u64 {
        let prefixes = self.kept_tokens().saturating_mul(self.lanes.into());
        let prompts = self.prompt_tokens.saturating_add(prefixes);
        pace.work(self.requests.into(), prompts, self.answer_tokens)
    }

    /// Takes a request in, while it is not known yet whether prefixes are kept.
    pub(crate) fn add(&mut self, size: Size) {
        self.requests += 1;
        self.own_parts.add(size.own);
        self.prompt_tokens = self.prompt_tokens.saturating_add(size.own);
        self.answer_tokens = self.answer_tokens.saturating_add(size.output);
    }

    /// It is known now: a prefix that is not kept is part of every request's work.
    pub(crate) fn settle(&mut self) {
        let again = (self.prefix_tokens - self.kept_tokens()).saturating_mul(self.requests.into());
        self.prompt_tokens = self.prompt_tokens.saturating_add(again);
    }

    /// Work of each of its lanes.
    pub(crate) fn share(&self) -> u64 {
        (self.work() / u64::from(self.lanes)).saturating_add(self.prefix())
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
    let alone = loads.iter().map(|load| load.work().saturating_add(load.prefix()));
    let mut total = alone.fold(0, u64::saturating_add);
    let mut shares = loads.len();
    let mut longest: BinaryHeap<_> =
        loads.iter_mut().map(|load| ByShare(load.share(), Reverse(load.group), load)).collect();
    while let Some(ByShare(share, group, load)) = longest.pop() {
        if share <= total / u64::from(lanes) {
            break;
        }
        let idle = shares < lanes as usize;
        let narrower = load.work() / u64::from(load.lanes + 1);
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
