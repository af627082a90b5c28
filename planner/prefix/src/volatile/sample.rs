use std::collections::HashSet;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Finding, Kind, Limits, difference::Apart};

/// A prompt that others are compared with, and what came of it.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) root: u64,
    /// The beginning of the prompt.
    pub(super) text: Vec<u8>,
    /// What is left of the matches that count for it against those of other prompts.
    pub(super) credit: u32,
    /// Where its messages end in `text`; the last may be cut off.
    ends: Vec<u32>,
    requests: u32,
    /// First byte that differed in any of them.
    at: usize,
    /// Hashes of the variants, up to `Limits::variants`.
    seen: HashSet<u64>,
    variants: u32,
    lost: u64,
    /// Votes for kinds, in their order.
    kinds: [u32; KINDS.len()],
}

const KINDS: [Kind; 4] = [Kind::DateTime, Kind::Id, Kind::Number, Kind::Other];

// === impl Sample ===

impl Sample {
    pub(super) fn new(root: u64, text: &[u8], ends: &[u32]) -> Self {
        Self {
            root,
            text: text.to_vec(),
            credit: 1,
            ends: ends.to_vec(),
            requests: 1,
            at: usize::MAX,
            seen: HashSet::new(),
            variants: 1,
            lost: 0,
            kinds: [0; KINDS.len()],
        }
    }

    /// A text that belongs to this sample.
    pub(super) fn count(&mut self) {
        self.requests = self.requests.saturating_add(1);
        self.credit = self.credit.saturating_add(1);
    }

    /// A text that differs from the sample in a span.
    pub(super) fn vary(&mut self, text: &[u8], apart: &Apart, limits: &Limits) {
        let span = text.get(apart.at..apart.text_end).unwrap_or_default();
        let variant = xxh3_64_with_seed(span, apart.at as u64);
        let known = if self.seen.len() < limits.variants {
            !self.seen.insert(variant)
        } else {
            self.seen.contains(&variant)
        };
        if known {
            return;
        }
        self.variants = self.variants.saturating_add(1);
        self.lost = self.lost.saturating_add(apart.equal as u64);
        self.at = self.at.min(apart.at);
        let guess = Kind::guess(text, apart.at);
        let votes = KINDS.iter().zip(&mut self.kinds).filter(|(kind, _)| **kind == guess);
        votes.for_each(|(_, votes)| *votes = votes.saturating_add(1));
    }

    pub(super) fn finding(&self) -> Option<Finding> {
        if self.at == usize::MAX {
            return None;
        }
        let before = self.ends.iter().take_while(|end| **end as usize <= self.at);
        let (message, begin) = before.fold((0, 0), |(message, _), end| (message + 1, *end));
        let most = KINDS.iter().zip(self.kinds).rev().max_by_key(|(_, votes)| *votes);
        Some(Finding {
            root: self.root,
            message,
            offset: u32::try_from(self.at).unwrap_or(u32::MAX) - begin,
            kind: most.map_or(Kind::Other, |(kind, _)| *kind),
            requests: self.requests,
            variants: self.variants,
            lost: self.lost,
        })
    }
}
