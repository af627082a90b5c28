use std::cmp::Reverse;

use super::{
    Kind,
    difference::{Relation, relate},
    sample::Sample,
};

/// What volatile prefixes are, and what looking for them may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of prompt from which on it is looked at.
    pub min_text: usize,
    /// Bytes of a prompt that are looked at: what is shared beyond is not counted.
    pub window: usize,
    /// Prompts that others are compared with. A family of prompts is found for certain if more
    /// than one in so many requests is of it.
    pub samples: usize,
    /// Bytes in which prompts may differ and still be variants of one another.
    pub max_span: usize,
    /// Bytes behind such a span that must be equal again.
    pub min_equal: usize,
    /// Different variants of one family that are told apart; from there on, every variant that
    /// is not one of them counts as new.
    pub variants: usize,
    /// Bytes that a finding must cost.
    pub min_lost: u64,
}

/// Looks at the prompts of one reading for volatile prefixes.
///
/// Keeps some prompts as samples and compares each request with them: if they differ in a short
/// span only and go on alike, the request is a variant. Samples that nothing is like give way to
/// newer ones. Takes `samples × (window + 18 × variants)` bytes, by default 0.8 MB, and for
/// each request time in proportion to the window.
#[derive(Debug, Default)]
pub struct Watch {
    limits: Limits,
    /// Those with most matches first.
    samples: Vec<Sample>,
    text: Vec<u8>,
    ends: Vec<u32>,
}

/// Prompts that could share what is behind a volatile part, if that stood further back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finding {
    /// Their root key's hash, as given.
    pub root: u64,
    /// The message in which they first differ, from 0.
    pub message: u32,
    /// The first byte of it that differs.
    pub offset: u32,
    /// What stands there, as it seems.
    pub kind: Kind,
    /// Requests concerned: the variants and their repetitions. A lower bound if samples gave way.
    pub requests: u32,
    /// Different variants.
    pub variants: u32,
    /// Bytes that are equal behind the volatile part, summed over all variants but one: what is
    /// evaluated again for nothing, at least.
    pub lost: u64,
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            min_text: 512,
            window: 32 * 1_024,
            samples: 16,
            max_span: 256,
            min_equal: 256,
            variants: 1_024,
            min_lost: 64 * 1_024,
        }
    }
}

// === impl Watch ===

impl Watch {
    /// A watch under these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, samples: Vec::new(), text: Vec::new(), ends: Vec::new() }
    }

    /// Takes a request: the hash of its root key, for requests with different ones share nothing
    /// in any case, and the texts of its messages in order.
    pub fn see<'t>(&mut self, root: u64, messages: impl IntoIterator<Item = &'t [u8]>) {
        self.text.clear();
        self.ends.clear();
        for message in messages {
            let room = self.limits.window.saturating_sub(self.text.len());
            if room == 0 {
                break;
            }
            self.text.extend_from_slice(message.get(..room).unwrap_or(message));
            self.ends.push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
        }
        if self.text.len() < self.limits.min_text {
            return;
        }
        for (index, sample) in self.samples.iter_mut().enumerate().filter(|(_, sample)| sample.root == root) {
            match relate(&sample.text, &self.text, &self.limits) {
                Relation::Unlike => continue,
                Relation::Alike => {}
                Relation::Apart(apart) => sample.vary(&self.text, &apart, &self.limits),
            }
            sample.count();
            self.samples.swap(index, index.saturating_sub(1));
            return;
        }
        self.keep(root);
    }

    /// What was found, the costliest first.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let found = self.samples.iter().filter_map(Sample::finding);
        let mut found: Vec<Finding> = found.filter(|finding| finding.lost >= self.limits.min_lost).collect();
        found.sort_by_key(|finding| (Reverse(finding.lost), finding.root, finding.message, finding.offset));
        found
    }

    /// Makes the text a sample, unless all samples are still good; then each loses a match.
    fn keep(&mut self, root: u64) {
        let new = || Sample::new(root, &self.text, &self.ends);
        if self.samples.len() < self.limits.samples {
            let new = new();
            self.samples.push(new);
        } else if let Some(spent) = self.samples.iter_mut().rev().find(|sample| sample.credit == 0) {
            *spent = new();
        } else {
            self.samples.iter_mut().for_each(|sample| sample.credit -= 1);
        }
    }
}

// === impl Finding ===

impl Finding {
    /// The field as it is named in a body with messages.
    #[must_use]
    pub fn field(&self) -> String {
        format!("messages[{}].content", self.message)
    }
}
