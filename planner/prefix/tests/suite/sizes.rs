//! Adversarial batches: counted in nodes and steps, not in seconds.

use caravan_prefix::{MAX_NODES, Sketch, Step};

use crate::support::insert;

const LENGTH: usize = 12;

/// Steps that differ from `common` on, told apart by `name`.
fn steps(name: u64, common: usize) -> [Step; LENGTH] {
    std::array::from_fn(|place| {
        let name = if place < common { 0 } else { name + 1 };
        let bytes = 256 * place as u32;
        let hash = mixed(name << 8 | place as u64);
        Step { hash, bytes, messages: 0 }
    })
}

fn mixed(number: u64) -> u64 {
    let mixed = (number ^ number >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

/// Nodes, groups and part of the bytes that are saved, and requests counted.
fn run(names: impl Iterator<Item = u64>, common: usize) -> (u32, usize, f64, u32) {
    let paths: Vec<[Step; LENGTH]> = names.map(|name| steps(name, common)).collect();
    let each = paths.iter().map(<[Step; LENGTH]>::as_slice);
    let (tree, nodes) = insert(each, Sketch::new(Sketch::MAX_BYTES), MAX_NODES);
    assert!(tree.bytes() <= 48 * tree.nodes() as usize + 1_024, "{} bytes", tree.bytes());
    let count = tree.nodes();
    let grouping = tree.collapse(|_, shared| shared.bytes, 0);
    assert!(nodes.iter().all(|&node| grouping.group(node).is_some()));
    let bytes = paths.len() as f64 * f64::from(paths[0][LENGTH - 1].bytes);
    let requests = grouping.groups.iter().map(|group| group.requests).sum();
    (count, grouping.groups.len(), grouping.saved() as f64 / bytes, requests)
}

#[test]
fn all_different() {
    let (nodes, groups, saved, requests) = run(0..300_000, 1);
    assert!(nodes < 3_000, "{nodes}: what the sketch mistakes");
    assert_eq!((groups, saved, requests), (1, 0.0, 300_000));
}

#[test]
fn all_equal() {
    let (nodes, groups, saved, requests) = run(std::iter::repeat_n(7, 300_000), 1);
    assert_eq!((nodes, groups, requests), (2, 1, 300_000));
    assert!(saved > 0.999);
}

#[test]
fn pairs_far_from_each_other() {
    let (nodes, groups, saved, requests) = run((0..300_000).map(|request| request % 150_000), 1);
    assert!((150_001..155_000).contains(&nodes), "{nodes}");
    assert_eq!((groups, requests), (150_000, 300_000));
    assert!((saved - 0.5).abs() < 1e-9);
}

#[test]
fn a_hundred_thousand_of_one_behind_a_common_beginning() {
    let (nodes, groups, saved, requests) = run(0..100_000, 9);
    assert!(nodes < 1_000, "{nodes}");
    assert_eq!((groups, requests), (1, 100_000));
    assert!(saved > 0.7);
}

#[test]
fn a_comb_of_ever_longer_prompts() {
    // Every prompt goes one step further than the one before: as many levels as requests.
    let length = 1_500u32;
    let whole: Vec<Step> =
        (0..length).map(|place| Step { hash: mixed(place.into()), bytes: 64 * place, messages: 0 }).collect();
    let each = (1..=whole.len()).map(|end| &whole[..end]);
    let (tree, nodes) = insert(each, Sketch::new(0), MAX_NODES);
    assert!(tree.nodes() <= length);
    let grouping = tree.collapse(|_, shared| shared.bytes, 0);
    let requests: u32 = grouping.groups.iter().map(|group| group.requests).sum();
    assert_eq!((requests, nodes.len()), (length, length as usize));
    assert!(grouping.groups.len() > 10);
}
