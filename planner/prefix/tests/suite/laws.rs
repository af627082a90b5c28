//! What holds for every grouping.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use caravan_prefix::{Shared, Sketch, Step};
use proptest::{
    prelude::{ProptestConfig, prop},
    prop_assert, prop_assert_eq, proptest,
    strategy::Strategy,
    test_runner::RngSeed,
};

use crate::support::{Prompt, group, insert, text};

/// Prompts of few different pieces, so that they share much.
fn prompts() -> impl Strategy<Value = Vec<Prompt>> {
    let piece = (0..3u32, prop::sample::select(vec![0usize, 3, 100, 256, 300, 700, 2_500]));
    let message = prop::collection::vec(piece.prop_map(|(seed, bytes)| text(seed, bytes)), 1..3);
    let messages = prop::collection::vec(message.prop_map(|pieces| pieces.concat()), 0..4);
    let prompt = (prop::bool::weighted(0.1), messages)
        .prop_map(|(other, messages)| Prompt { key: if other { "n" } else { "m" }.into(), messages });
    prop::collection::vec(prompt, 0..60)
}

/// Savings if requests that are equal but for their last messages are one group.
fn simple(prompts: &[Prompt]) -> (u64, u64) {
    let mut heads: HashMap<(&str, &[String]), u64> = HashMap::new();
    for prompt in prompts {
        let shared = prompt.messages.len().saturating_sub(1);
        *heads.entry((&prompt.key, &prompt.messages[..shared])).or_default() += 1;
    }
    let saved = |(head, requests): (&(&str, &[String]), &u64)| (requests - 1) * head.1.concat().len() as u64;
    (heads.iter().map(saved).sum(), heads.values().filter(|&&requests| requests > 1).count() as u64)
}

/// A sketch without room, which takes every step for a parting.
fn mistaken() -> Sketch {
    let mut sketch = Sketch::new(0);
    let names = 0..sketch.bytes() as u64;
    names.for_each(|name| sketch.see(&[Step { hash: name | name << 48, ..Step::default() }]));
    sketch
}

proptest! {
    // A fingerprint of 15 bits may hide a parting: the same prompts on every run, or none.
    #![proptest_config(ProptestConfig {
        cases: 256, failure_persistence: None, rng_seed: RngSeed::Fixed(4), ..ProptestConfig::default()
    })]

    #[test]
    fn every_request_is_in_one_group_whose_prefix_it_has(prompts in prompts(), min_gain in 0..2_000u64) {
        let (grouping, of) = group(&prompts, min_gain);
        let mut members: BTreeMap<u32, Vec<&Prompt>> = BTreeMap::new();
        of.iter().zip(&prompts).for_each(|(&group, prompt)| members.entry(group).or_default().push(prompt));
        prop_assert!(members.keys().copied().eq(0..grouping.groups.len() as u32));
        for (group, members) in grouping.groups.iter().zip(members.values()) {
            prop_assert_eq!(group.requests as usize, members.len());
            let shares = |prompt: &Prompt, shared: Shared| {
                let (bytes, messages) = (shared.bytes as usize, shared.messages as usize);
                let first = members[0];
                prompt.key == first.key
                    && prompt.text().get(..bytes) == first.text().get(..bytes)
                    && prompt.text().len() >= bytes
                    && prompt.messages.len() >= messages
                    && prompt.messages[..messages] == first.messages[..messages]
                    && prompt.messages[..messages].concat().len() <= bytes
            };
            prop_assert!(members.iter().all(|prompt| shares(prompt, group.shared)), "{:?}", group);
        }
    }

    #[test]
    fn neighbours_share_what_they_say(prompts in prompts()) {
        let (grouping, of) = group(&prompts, 0);
        let first = |group: usize| &prompts[of.iter().position(|&of| of as usize == group).unwrap()];
        for (index, group) in grouping.groups.iter().enumerate().skip(1) {
            let (before, this) = (first(index - 1), first(index));
            prop_assert_eq!(group.outer.is_some(), before.key == this.key);
            if let Some(outer) = group.outer {
                let [before, this] = [before, this].map(|prompt| prompt.text().into_bytes());
                prop_assert!(this.starts_with(&before[..outer.bytes as usize]));
                prop_assert!(outer.bytes <= group.shared.bytes.min(grouping.groups[index - 1].shared.bytes));
            }
        }
        let mut nodes = BTreeSet::new();
        prop_assert!(grouping.groups.iter().all(|group| nodes.insert(group.node)));
    }

    #[test]
    fn equal_requests_are_in_one_group(prompts in prompts(), min_gain in 0..2_000u64) {
        let (_, of) = group(&prompts, min_gain);
        let mut groups: HashMap<(&str, &[String]), u32> = HashMap::new();
        for (prompt, &of) in prompts.iter().zip(&of) {
            prop_assert_eq!(*groups.entry((&prompt.key, &prompt.messages)).or_insert(of), of);
        }
    }

    #[test]
    fn no_less_is_saved_than_by_all_but_the_last_message(prompts in prompts(), min_gain in 0..2_000u64) {
        let (saved, groups) = simple(&prompts);
        prop_assert!(group(&prompts, 0).0.saved() >= saved);
        let (grouping, _) = group(&prompts, min_gain);
        prop_assert!(grouping.saved() + min_gain * groups >= saved);
    }

    #[test]
    fn same_requests_same_groups(prompts in prompts(), min_gain in 0..2_000u64) {
        prop_assert_eq!(group(&prompts, min_gain), group(&prompts.clone(), min_gain));
    }

    #[test]
    fn counts_are_exact_whatever_the_sketch_mistakes(prompts in prompts(), max_nodes in 0..40u32) {
        let paths: Vec<Vec<Step>> = prompts.iter().map(Prompt::steps).collect();
        let (tree, nodes) = insert(paths.iter().map(Vec::as_slice), mistaken(), max_nodes);
        prop_assert!(tree.nodes() <= max_nodes + tree.roots());
        prop_assert!(tree.capped() as usize <= prompts.len());
        let grouping = tree.collapse(|_, shared| shared.bytes, 0);
        let mut requests = vec![0u32; grouping.groups.len()];
        nodes.iter().for_each(|&node| requests[grouping.group(node).unwrap() as usize] += 1);
        let exact: Vec<u32> = grouping.groups.iter().map(|group| group.requests).collect();
        prop_assert_eq!(requests, exact);
    }

    #[test]
    fn nodes_too_many_change_no_savings(prompts in prompts()) {
        let paths: Vec<Vec<Step>> = prompts.iter().map(Prompt::steps).collect();
        let (tree, _) = insert(paths.iter().map(Vec::as_slice), mistaken(), u32::MAX);
        let grouping = tree.collapse(|_, shared| shared.bytes, 0);
        prop_assert_eq!(grouping.saved(), group(&prompts, 0).0.saved());
    }
}
