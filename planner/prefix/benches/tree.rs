//! Measures the prefix tree against hashing alone, in one run on one machine. Figures are for
//! people: no test depends on them.
//!
//! `cargo bench -p caravan-prefix`

use std::{error::Error, fs, hint::black_box, time::Instant};

use caravan_prefix::{Grouping, MAX_NODES, NodeId, Path, Sketch, Step, Tree, volatile::Watch};
use xxhash_rust::xxh3::xxh3_64;

const REQUESTS: usize = 1_000_000;
const PREFIXES: usize = 10_000;
const SYSTEM_BYTES: usize = 2_400;
const USER_BYTES: usize = 200;
const MIN_GAIN: u64 = 1_024;

/// The prompts of all requests, one after the other.
struct Steps {
    all: Vec<Step>,
    ends: Vec<usize>,
}

impl Steps {
    fn each(&self) -> impl Iterator<Item = &[Step]> {
        let begins = [0].into_iter().chain(self.ends.iter().copied());
        begins.zip(&self.ends).filter_map(|(begin, &end)| self.all.get(begin..end))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("{REQUESTS} requests, {SYSTEM_BYTES} + {USER_BYTES} bytes");
    hashing();
    watching();
    measure("10,000 prefixes, interleaved", |request| request % PREFIXES)?;
    measure("500,000 pairs", |request| request % (REQUESTS / 2))?;
    measure("all different", |request| request)?;
    measure("one prefix", |_| 0)
}

fn text(seed: usize, bytes: usize) -> Vec<u8> {
    let mut number = seed as u64;
    let words = std::iter::repeat_with(|| {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        number.to_le_bytes()
    });
    words.flatten().take(bytes).collect()
}

fn hashing() {
    for bytes in [200, 2_400, 10_000, 1_000_000] {
        let (text, times) = (text(1, bytes), 1_000_000_000 / bytes);
        let mut path = Path::default();
        let plain = seconds(|| {
            for _ in 0..times {
                black_box(xxh3_64(black_box(&text)));
            }
        });
        let paths = seconds(|| {
            for _ in 0..times {
                path.begin(b"key", 0);
                path.message(black_box(&text));
                black_box(path.steps());
            }
        });
        let (rate, steps) = ((times * bytes) as f64 / paths / 1e9, path.steps().len());
        println!(
            "path of {bytes} bytes: {steps} steps, {rate:.1} GB/s, {:.2} × hashing alone",
            paths / plain
        );
    }
}

fn watching() {
    let system = text(1, SYSTEM_BYTES);
    for (name, dated, other) in [("equal prompts", 0, 0), ("dated prompts", 1, 0), ("other prompts", 0, 1)] {
        let mut watch = Watch::default();
        let mut spent = 0.0;
        for request in 0..REQUESTS / 10 {
            let mut system = if other > 0 { text(request, SYSTEM_BYTES) } else { system.clone() };
            if dated > 0 {
                system.splice(..8, request.to_le_bytes());
            }
            let user = text(request, USER_BYTES);
            spent += seconds(|| watch.see(0, [system.as_slice(), user.as_slice()]));
        }
        let found = watch.findings().len();
        println!("watch of {name}: {:.2} µs a request, {found} findings", spent * 1e7 / REQUESTS as f64);
    }
}

fn measure(name: &str, prefix: impl Fn(usize) -> usize) -> Result<(), Box<dyn Error>> {
    let mut steps = Steps { all: Vec::new(), ends: Vec::with_capacity(REQUESTS) };
    let mut path = Path::default();
    let mut building = 0.0;
    let user = text(0, USER_BYTES);
    for request in 0..REQUESTS {
        let system = text(prefix(request), SYSTEM_BYTES);
        let mut user = user.clone();
        user.splice(..8, request.to_le_bytes());
        building += seconds(|| {
            path.begin(b"key", 0);
            path.message(&system);
            path.message(&user);
        });
        steps.all.extend_from_slice(path.steps());
        steps.ends.push(steps.all.len());
    }
    let before = resident()?;
    let input = (REQUESTS * (SYSTEM_BYTES + USER_BYTES)) as u64;
    let mut sketch = Sketch::for_input(input);
    let seeing = seconds(|| steps.each().for_each(|steps| sketch.see(steps)));
    let mut tree = Tree::new(MAX_NODES);
    let mut nodes: Vec<NodeId> = Vec::with_capacity(REQUESTS);
    let mut full = None;
    let inserting = seconds(|| {
        for steps in steps.each() {
            match tree.insert(&sketch, steps) {
                Ok(node) => nodes.push(node),
                Err(error) => full = Some(error),
            }
        }
    });
    if let Some(error) = full {
        return Err(error.into());
    }
    let during = resident()?.saturating_sub(before);
    let (count, bytes, capped, sketch_bytes) = (tree.nodes(), tree.bytes(), tree.capped(), sketch.bytes());
    drop(sketch);
    let mut grouping: Option<Grouping> = None;
    let collapsing = seconds(|| grouping = Some(tree.collapse(|_, shared| shared.bytes, MIN_GAIN)));
    let groups = grouping.as_ref().map_or(0, |grouping| grouping.groups.len());
    let saved = grouping.map_or(0, |grouping| grouping.saved());
    let total = seeing + inserting + collapsing;
    println!("{name}: {count} nodes, {groups} groups, {:.1} % saved", saved as f64 / input as f64 * 100.0);
    println!("  sketch {seeing:.2} s + tree {inserting:.2} s + collapse {collapsing:.2} s = {total:.2} s");
    println!("  with paths twice {:.2} s; {capped} requests capped", total + 2.0 * building);
    let each = |bytes: usize| bytes as f64 / REQUESTS as f64;
    println!(
        "  bytes a request: sketch {:.1}, tree {:.1}, node ids 4, resident {:.1}",
        each(sketch_bytes),
        each(bytes),
        each(during)
    );
    Ok(())
}

fn seconds(run: impl FnOnce()) -> f64 {
    let begin = Instant::now();
    run();
    begin.elapsed().as_secs_f64()
}

/// Memory of this process, in bytes.
fn resident() -> Result<usize, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes: Option<usize> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    Ok(kilobytes.ok_or("no VmRSS")? * 1_024)
}
