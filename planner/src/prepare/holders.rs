//! Who holds which digest of a model.

use std::collections::BTreeMap;

use super::{Capacity, capacity::several};
use crate::store::Pin;

/// Digits of a digest that are shown: what `ollama list` shows.
const SHOWN: usize = 12;

/// The engines that hold one digest.
#[derive(Debug, Default)]
struct Holders {
    engines: Vec<String>,
    lanes: i64,
}

// === impl Capacity ===

impl Capacity {
    /// Says so if the engines hold different digests of a model.
    pub(super) fn disagreement(&self, model: &str) -> Option<String> {
        let holders = self.holders(model);
        (holders.len() > 1).then(|| {
            format!(
                "Model {model} is not the same on all engines: {}. The batch is answered by one digest only, and \
                 the lanes of the others take no part: make them alike with `caravan model ensure`.",
                listed(&holders)
            )
        })
    }

    /// Says so if engines have a model of the batch, but none with the digest that the batch is held to.
    #[must_use]
    pub(crate) fn changed(&self, pins: &[Pin]) -> Option<String> {
        let changed = pins.iter().find_map(|Pin { model, digest }| {
            let holders = self.holders(model);
            let is_changed = !holders.is_empty() && !holders.contains_key(digest.as_str());
            is_changed.then_some((model, digest, holders))
        });
        changed.map(|(model, digest, holders)| {
            format!(
                "the batch is answered by {model} with {}, which no engine has any more: there is {}. Give it back \
                 to an engine (`caravan model ensure {model} --from FILE.gguf --replace`), or cancel the batch and \
                 submit what is left again",
                named(digest),
                listed(&holders)
            )
        })
    }

    fn holders(&self, model: &str) -> BTreeMap<&str, Holders> {
        let mut holders: BTreeMap<&str, Holders> = BTreeMap::new();
        for (engine, known) in self.found(model) {
            let of_digest = holders.entry(&known.digest).or_default();
            of_digest.engines.push(self.name(engine));
            of_digest.lanes += i64::from(engine.slots);
        }
        holders
    }
}

/// Each digest with its engines, those with the most lanes first.
fn listed(holders: &BTreeMap<&str, Holders>) -> String {
    let mut holders: Vec<_> = holders.iter().collect();
    holders.sort_by_key(|(_, holders)| std::cmp::Reverse(holders.lanes));
    let each = holders.into_iter().map(|(digest, holders)| {
        format!("{} on {} (lanes: {})", named(digest), several(&holders.engines), holders.lanes)
    });
    each.collect::<Vec<_>>().join(", ")
}

fn named(digest: &str) -> String {
    if digest.is_empty() {
        return "no digest".to_owned();
    }
    format!("digest {}", digest.get(..SHOWN).unwrap_or(digest))
}
