use std::collections::HashMap;

use crate::tree::Node;

/// Which nodes become groups, so that most is saved.
///
/// Every request belongs to the deepest open node above it, and a group of `m` requests saves
/// `(m − 1) × depth`: all but one find the prefix evaluated. So opening a node costs its depth
/// and `min_gain`, and brings each request below that no deeper node takes the depth that it
/// has beyond the open node above. What is best below a node therefore depends on the
/// depth `x` of the deepest open node above, and on nothing else: `best(v, x)` is the larger of
/// - v closed: `S(x) = own × x + Σ best(child, x)`,
/// - v open: `S(depth) − depth − min_gain`, whatever `x` is.
///
/// S is convex and ascends with the number of requests that are left to the node above, so v
/// is open exactly while `x` is below some bound, and best(v, ·) is S with its lower end cut off
/// flat there. It is kept as the places where it bends, children before parents. This is the
/// optimum, in a time of the sum of all nodes' levels, which is less than that of all paths.
pub(crate) struct Opening {
    /// By node: it is open if the deepest open node above is less deep than this.
    below: Vec<u32>,
}

/// Where the slope of a node's best rises.
#[derive(Debug, Clone, Copy)]
struct Bend {
    at: f64,
    requests: u64,
}

// === impl Opening ===

impl Opening {
    /// `depths` ascend from parents to children.
    pub(crate) fn best(nodes: &[Node], depths: &[u32], min_gain: u64) -> Self {
        let mut below = vec![0; nodes.len()];
        // Requests left to the node above wherever that is.
        let mut flat: Vec<u64> = nodes.iter().map(|node| u64::from(node.requests)).collect();
        let mut waiting: HashMap<u32, Vec<Bend>> = HashMap::new();
        let ids = 0..nodes.len() as u32;
        for (((id, node), &depth), below) in ids.zip(nodes).zip(depths).zip(&mut below).rev() {
            let is_root = node.parent == id;
            // A root's group exists in any case.
            let cost = f64::from(depth) + if is_root { 0.0 } else { min_gain as f64 };
            let mut bends = waiting.remove(&id).unwrap_or_default();
            bends.retain(|bend| bend.at < f64::from(depth));
            bends.sort_unstable_by(|a, b| b.at.total_cmp(&a.at).then(b.requests.cmp(&a.requests)));
            let own = flat.get(id as usize).copied().unwrap_or_default();
            let bound = cut(own, &mut bends, f64::from(depth), cost);
            *below = bound.ceil() as u32;
            if is_root {
                continue;
            }
            if let Some(above) = flat.get_mut(node.parent as usize).filter(|_| bound == 0.0) {
                *above = above.saturating_add(own);
            }
            let above = depths.get(node.parent as usize).copied().unwrap_or_default();
            bends.retain(|bend| bend.at < f64::from(above));
            join(&mut waiting, node.parent, bends);
        }
        Self { below }
    }

    /// Whether a node is open, if the deepest open node above has this depth.
    pub(crate) fn is_open(&self, node: u32, above: u32) -> bool {
        self.below.get(node as usize).is_some_and(|bound| above < *bound)
    }
}

/// Finds from where on, downwards, opening at `depth` brings more than it costs, and cuts the
/// bends off there; 0 if nowhere. The bends descend.
fn cut(own: u64, bends: &mut Vec<Bend>, depth: f64, cost: f64) -> f64 {
    let mut requests = bends.iter().fold(own, |sum, bend| sum.saturating_add(bend.requests));
    let (mut left, mut at) = (cost, depth);
    let bottom = Bend { at: 0.0, requests: 0 };
    let found = bends.iter().chain([&bottom]).enumerate().find_map(|(above, bend)| {
        let gain = (at - bend.at) * requests as f64;
        if gain > left {
            return Some((above, Bend { at: at - left / requests as f64, requests }));
        }
        (left, at, requests) = (left - gain, bend.at, requests - bend.requests);
        None
    });
    let Some((above, bound)) = found else {
        return 0.0;
    };
    bends.truncate(above);
    bends.push(bound);
    bound.at
}

fn join(waiting: &mut HashMap<u32, Vec<Bend>>, parent: u32, mut bends: Vec<Bend>) {
    if bends.is_empty() {
        return;
    }
    let there = waiting.entry(parent).or_default();
    if there.len() < bends.len() {
        std::mem::swap(there, &mut bends);
    }
    there.append(&mut bends);
}
