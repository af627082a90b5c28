use hashbrown::HashTable;

use crate::{Shared, Sketch, Step};

/// Nodes beside the root keys' at most, unless the caller says otherwise: 46 MB.
pub const MAX_NODES: u32 = 1 << 20;

/// A node of a [`Tree`]; what a caller keeps of a request, 4 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) u32);

impl NodeId {
    /// Its number in the order of making, from 0.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The points where prompts part, and the requests that share them up to there. At most as
/// many as requests, and a few that the sketch takes for such. 32 bytes a node and 6 to 12 of
/// index.
#[derive(Debug, Clone)]
pub struct Tree {
    /// A parent stands before its children.
    nodes: Vec<Node>,
    /// By hash.
    index: HashTable<u32>,
    roots: u32,
    max_nodes: u32,
    capped: u32,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    pub(crate) hash: u64,
    /// A root's is itself.
    pub(crate) parent: u32,
    /// Number of its root.
    pub(crate) root: u32,
    pub(crate) bytes: u32,
    pub(crate) messages: u32,
    /// Requests that share no more than this.
    pub(crate) requests: u32,
}

/// More root keys and nodes than a [`NodeId`] can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {} prefixes", u32::MAX)]
pub struct Full;

// === impl Tree ===

impl Tree {
    /// An empty tree. Past `max_nodes`, new prefixes get no node unless they are root keys':
    /// groups stay right and share less.
    #[must_use]
    pub fn new(max_nodes: u32) -> Self {
        Self { nodes: Vec::new(), index: HashTable::new(), roots: 0, max_nodes, capped: 0 }
    }

    /// Takes a prompt of the second reading: gives the node of the longest prefix that it shares
    /// with another, or of its root key. `sketch` must have seen all prompts; one that it has not
    /// seen is counted at its root.
    ///
    /// # Errors
    /// The tree is full; the request is not counted.
    pub fn insert(&mut self, sketch: &Sketch, steps: &[Step]) -> Result<NodeId, Full> {
        let root = steps.first().copied().unwrap_or_default();
        let mut at = match self.find(None, &root) {
            Some(node) => node,
            None => self.add(None, &root)?,
        };
        for step in sketch.partings(steps) {
            at = match self.find(Some(at), step) {
                Some(node) => node,
                None if self.nodes.len() - self.roots as usize >= self.max_nodes as usize => {
                    self.capped = self.capped.saturating_add(1);
                    break;
                }
                None => self.add(Some(at), step)?,
            };
        }
        if let Some(node) = self.nodes.get_mut(at as usize) {
            node.requests = node.requests.saturating_add(1);
        }
        Ok(NodeId(at))
    }

    /// Nodes, root keys included.
    #[must_use]
    pub fn nodes(&self) -> u32 {
        self.nodes.len() as u32
    }

    /// Root keys.
    #[must_use]
    pub fn roots(&self) -> u32 {
        self.roots
    }

    /// Requests that may share more than their node says, because the tree was at its bound.
    #[must_use]
    pub fn capped(&self) -> u32 {
        self.capped
    }

    /// Number of a node's root key, from 0 in the order of insertion. `None` for a node of
    /// another tree.
    #[must_use]
    pub fn root(&self, node: NodeId) -> Option<u32> {
        self.nodes.get(node.0 as usize).map(|node| node.root)
    }

    /// All nodes and what their requests share, `depth` in bytes: a parent before its children,
    /// in the order of their first request.
    pub fn prefixes(&self) -> impl Iterator<Item = (NodeId, Shared)> {
        self.prefixes_from(0)
    }

    /// As [`Self::prefixes`], from the node that was made as number `first` on.
    pub fn prefixes_from(&self, first: usize) -> impl Iterator<Item = (NodeId, Shared)> {
        let nodes = self.nodes.get(first..).unwrap_or_default();
        (first as u32..).map(NodeId).zip(nodes.iter().map(Node::shared))
    }

    /// Memory in use, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.nodes.len() * size_of::<Node>() + self.index.allocation_size()
    }

    pub(crate) fn into_nodes(self) -> Vec<Node> {
        self.nodes
    }

    fn find(&self, parent: Option<u32>, step: &Step) -> Option<u32> {
        let is = |id: &u32| {
            self.nodes.get(*id as usize).is_some_and(|node| {
                node.hash == step.hash && node.bytes == step.bytes && node.parent == parent.unwrap_or(*id)
            })
        };
        self.index.find(step.hash, is).copied()
    }

    fn add(&mut self, parent: Option<u32>, step: &Step) -> Result<u32, Full> {
        let id = u32::try_from(self.nodes.len()).ok().filter(|id| *id < u32::MAX).ok_or(Full)?;
        let root = parent.and_then(|parent| self.root(NodeId(parent))).unwrap_or(self.roots);
        self.roots += u32::from(parent.is_none());
        let Step { hash, bytes, messages } = *step;
        self.nodes.push(Node { hash, parent: parent.unwrap_or(id), root, bytes, messages, requests: 0 });
        let nodes = &self.nodes;
        let rehash = |id: &u32| nodes.get(*id as usize).map_or(0, |node| node.hash);
        self.index.insert_unique(hash, id, rehash);
        Ok(id)
    }
}

// === impl Node ===

impl Node {
    pub(crate) fn shared(&self) -> Shared {
        Shared { bytes: self.bytes, messages: self.messages, depth: self.bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Path;

    fn inserted(max_nodes: u32, prompts: &[&[&str]]) -> (Tree, Vec<NodeId>) {
        let (mut path, mut sketch) = (Path::default(), Sketch::new(0));
        let mut tree = Tree::new(max_nodes);
        let steps: Vec<Vec<Step>> = prompts
            .iter()
            .map(|prompt| {
                path.begin(prompt[0].as_bytes(), 0);
                prompt[1..].iter().for_each(|message| path.message(message.as_bytes()));
                path.steps().to_vec()
            })
            .collect();
        steps.iter().for_each(|steps| sketch.see(steps));
        let nodes = steps.iter().map(|steps| tree.insert(&sketch, steps).unwrap()).collect();
        (tree, nodes)
    }

    #[test]
    fn nodes_stand_where_prompts_part() {
        let prompts: [&[&str]; 5] = [
            &["m", "system", "a", "b"],
            &["m", "system", "a", "c"],
            &["m", "system", "d"],
            &["n", "system", "d"],
            &["m", "other"],
        ];
        let (tree, nodes) = inserted(MAX_NODES, &prompts);
        assert_eq!((tree.nodes(), tree.roots(), tree.capped()), (4, 2, 0));
        assert_eq!(nodes[0], nodes[1]);
        let shared: Vec<(u32, u32)> = tree.prefixes().map(|(_, s)| (s.bytes, s.messages)).collect();
        assert_eq!(shared, [(0, 0), (6, 1), (7, 2), (0, 0)]);
        assert_eq!(nodes.iter().map(|node| node.0).collect::<Vec<_>>(), [2, 2, 1, 3, 0]);
        assert_eq!(tree.root(nodes[3]), Some(1));
    }

    #[test]
    fn a_full_tree_says_whom_it_failed() {
        let prompts: [&[&str]; 5] = [&["m", "a"], &["m", "a"], &["m", "b"], &["m", "b"], &["n", "b"]];
        let (tree, nodes) = inserted(1, &prompts);
        assert_eq!((tree.nodes(), tree.roots(), tree.capped()), (3, 2, 2));
        assert_eq!(nodes[2], nodes[3]);
    }

    #[test]
    fn of_no_steps_and_unseen_steps() {
        let (mut tree, sketch) = (Tree::new(0), Sketch::new(0));
        let none = tree.insert(&sketch, &[]).unwrap();
        let mut path = Path::default();
        path.begin(b"m", 0);
        path.message(b"never seen");
        let unseen = tree.insert(&sketch, path.steps()).unwrap();
        assert_eq!((tree.root(none), tree.root(unseen), tree.capped()), (Some(0), Some(1), 0));
    }
}
