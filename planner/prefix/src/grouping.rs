use crate::{NodeId, Tree, open::Opening, tree::Node};

/// What requests share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shared {
    /// Bytes of prompt.
    pub bytes: u32,
    /// Whole messages; `bytes` may reach into the next.
    pub messages: u32,
    /// The prefix as it was weighed for [`Tree::collapse`]: tokens, or bytes.
    pub depth: u32,
}

/// Requests that share a prefix and are planned together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// Number of the root key.
    pub root: u32,
    /// The node whose prefix they share.
    pub node: NodeId,
    /// Its requests; at least 1.
    pub requests: u32,
    /// What all of them share.
    pub shared: Shared,
    /// What they share with those of the group before; `None` if that has another root key.
    pub outer: Option<Shared>,
}

/// Every request in one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grouping {
    /// Depth first: groups that share more are closer, those that share the same stand in the
    /// order of their first request.
    pub groups: Vec<Group>,
    /// By node.
    of_nodes: Vec<u32>,
}

/// No node, or no group.
const NONE: u32 = u32::MAX;

// === impl Tree ===

impl Tree {
    /// Chooses the nodes whose requests become groups, so that as much as possible is saved:
    /// `(requests − 1) × depth` summed over groups, where a group beside its root key's must add
    /// more than `min_gain` for each. The choice is the best there is, and a request that shares too
    /// little goes to a group further up, in the end to its root key's.
    ///
    /// `weigh` gives the depth of a prefix and decides the unit of `min_gain`: tokens where they
    /// are counted, else `|_, shared| shared.bytes`. A child counts as at least as deep as its parent.
    /// Takes 24 bytes a node while it works, and 16 for each that may be open; leaves 4 a node and
    /// 44 a group.
    #[must_use]
    pub fn collapse(self, mut weigh: impl FnMut(NodeId, Shared) -> u32, min_gain: u64) -> Grouping {
        let nodes = self.into_nodes();
        group(&nodes, |id, node| weigh(NodeId(id), node.shared()), min_gain)
    }
}

fn group(nodes: &[Node], mut weigh: impl FnMut(u32, &Node) -> u32, min_gain: u64) -> Grouping {
    let mut depths: Vec<u32> = Vec::with_capacity(nodes.len());
    for (id, node) in (0u32..).zip(nodes) {
        let above = depths.get(node.parent as usize).copied().unwrap_or_default();
        depths.push(weigh(id, node).max(above));
    }
    let owners = owners(nodes, &depths, &Opening::best(nodes, &depths, min_gain));
    let mut requests = vec![0u32; nodes.len()];
    for (node, &owner) in nodes.iter().zip(&owners) {
        if let Some(requests) = requests.get_mut(owner as usize) {
            *requests = requests.saturating_add(node.requests);
        }
    }
    number(nodes, &depths, owners, &requests)
}

/// The node whose group each node's requests belong to.
fn owners(nodes: &[Node], depths: &[u32], opening: &Opening) -> Vec<u32> {
    let mut owners: Vec<u32> = Vec::with_capacity(nodes.len());
    for (id, node) in (0u32..).zip(nodes) {
        let Some(&owner) = owners.get(node.parent as usize) else {
            owners.push(id);
            continue;
        };
        // A root that is not worth its depth only takes what is left over.
        let counts = opening.is_open(owner, 0);
        let above = depths.get(owner as usize).copied().filter(|_| counts).unwrap_or_default();
        owners.push(if opening.is_open(id, above) { id } else { owner });
    }
    owners
}

/// Numbers the groups depth first, children in the order of their first request.
fn number(nodes: &[Node], depths: &[u32], owners: Vec<u32>, requests: &[u32]) -> Grouping {
    let shared = |id: u32| {
        let (node, depth) = (nodes.get(id as usize)?, depths.get(id as usize)?);
        Some(Shared { depth: *depth, ..node.shared() })
    };
    let mut numbers = vec![NONE; nodes.len()];
    let mut groups: Vec<Group> = Vec::new();
    // The deepest node that is above both the group before and the one to come.
    let mut outer = None;
    walk(nodes, |id, above| {
        if above.is_none() {
            outer = None;
        }
        // Nodes come parents first, so an older one is further up.
        outer = outer.zip(above).map(|(outer, above): (u32, u32)| outer.min(above));
        let (Some(shared_here), Some(node)) = (shared(id), nodes.get(id as usize)) else {
            return;
        };
        let members = requests.get(id as usize).copied().unwrap_or_default();
        if members > 0 {
            if let Some(number) = numbers.get_mut(id as usize) {
                *number = groups.len() as u32;
            }
            groups.push(Group {
                root: node.root,
                node: NodeId(id),
                requests: members,
                shared: shared_here,
                outer: outer.and_then(shared),
            });
            outer = Some(id);
        }
    });
    let mut of_nodes = owners;
    for of in &mut of_nodes {
        *of = numbers.get(*of as usize).copied().unwrap_or(NONE);
    }
    Grouping { groups, of_nodes }
}

/// Visits all nodes depth first, each with its parent.
fn walk(nodes: &[Node], mut visit: impl FnMut(u32, Option<u32>)) {
    let mut child = vec![NONE; nodes.len()];
    let mut sibling = vec![NONE; nodes.len()];
    let ids = 0..nodes.len() as u32;
    for (id, node) in ids.zip(nodes).rev().filter(|(id, node)| node.parent != *id) {
        if let (Some(first), Some(next)) = (child.get_mut(node.parent as usize), sibling.get_mut(id as usize))
        {
            *next = std::mem::replace(first, id);
        }
    }
    for (root, _) in (0u32..).zip(nodes).filter(|(id, node)| node.parent == *id) {
        visit(root, None);
        let (mut at, mut descend) = (root, true);
        loop {
            let next = if descend { &child } else { &sibling }.get(at as usize).copied().unwrap_or(NONE);
            if next != NONE {
                visit(next, nodes.get(next as usize).map(|node| node.parent));
                (at, descend) = (next, true);
            } else if descend {
                descend = false;
            } else {
                at = nodes.get(at as usize).map_or(root, |node| node.parent);
            }
            if at == root && !descend {
                break;
            }
        }
    }
}

// === impl Group ===

impl Group {
    /// What is saved if one of the requests evaluates the prefix for all, in the unit of `depth`.
    #[must_use]
    pub fn saved(&self) -> u64 {
        u64::from(self.requests.saturating_sub(1)) * u64::from(self.shared.depth)
    }
}

// === impl Grouping ===

impl Grouping {
    /// Number of the group of a node's requests. `None` for a node of another tree.
    #[must_use]
    pub fn group(&self, node: NodeId) -> Option<u32> {
        self.of_nodes.get(node.0 as usize).copied().filter(|group| *group != NONE)
    }

    /// What is saved in all, in the unit of `depth`.
    #[must_use]
    pub fn saved(&self) -> u64 {
        self.groups.iter().map(Group::saved).fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{
        prelude::{ProptestConfig, prop},
        prop_assert_eq, proptest,
    };

    use super::*;

    /// What a choice of open nodes brings: every request takes the deepest above it.
    fn brought(nodes: &[Node], depths: &[u32], open: u32, min_gain: i64) -> i64 {
        let mut requests = vec![0i64; nodes.len()];
        for (id, node) in nodes.iter().enumerate() {
            let mut at = id;
            while open >> at & 1 == 0 && nodes[at].parent as usize != at {
                at = nodes[at].parent as usize;
            }
            requests[at] += i64::from(node.requests);
        }
        let of = |id: usize| match (requests[id], open >> id & 1, nodes[id].parent as usize == id) {
            (0, 1, false) => -i64::from(depths[id]) - min_gain,
            (0, ..) => 0,
            (members, _, true) => (members - 1) * i64::from(depths[id]),
            (members, _, false) => (members - 1) * i64::from(depths[id]) - min_gain,
        };
        (0..nodes.len()).map(of).sum()
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 512, failure_persistence: None, ..ProptestConfig::default()
        })]

        #[test]
        fn no_other_choice_saves_more(
            shape in prop::collection::vec((0..12u32, 0..30u32, 0..6u32), 1..11),
            min_gain in 0..40u64,
        ) {
            let mut nodes: Vec<Node> = Vec::new();
            for (id, (parent, _, requests)) in (0u32..).zip(&shape) {
                let parent = parent % (id + 1);
                let root = nodes.get(parent as usize).map_or(id, |node: &Node| node.root);
                nodes.push(Node { hash: 0, parent, root, bytes: 0, messages: 0, requests: *requests });
            }
            let mut depths: Vec<u32> = Vec::new();
            for (node, (_, depth, _)) in nodes.iter().zip(&shape) {
                depths.push(depth + depths.get(node.parent as usize).unwrap_or(&0));
            }
            let grouping = group(&nodes, |id, _| depths[id as usize], min_gain);
            let chosen = grouping.groups.iter().filter(|group| group.node.0 != nodes[group.node.0 as usize].parent);
            let value = grouping.saved() as i64 - (chosen.count() as u64 * min_gain) as i64;
            let best = (0..1u32 << nodes.len()).map(|open| brought(&nodes, &depths, open, min_gain as i64)).max();
            prop_assert_eq!(Some(value), best);
        }
    }
}
