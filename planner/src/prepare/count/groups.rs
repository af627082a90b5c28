use caravan_plan::{Head, Request};
use caravan_prefix::{NodeId, Shared, Tree};

use super::batch::{Counted, CountedRequest, Mark};
use crate::{
    intake::{Class, Scanned, Sharing},
    prepare::Error,
};

/// What the requests of a group share, beside the head that planning sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::prepare) struct Group {
    /// What tells them from others before their prompts do.
    pub(in crate::prepare) class: Class,
    /// Leading messages that they share.
    pub(in crate::prepare) shared_messages: u32,
}

/// Requests as they come from counting, sorted into the prefix tree. Memory: 4 bytes a request,
/// and 56 a node of the tree.
pub(super) struct Grouper {
    tree: Tree,
    nodes: Vec<NodeId>,
    facts: Vec<Facts>,
    /// By root of the tree.
    roots: Vec<Root>,
    sharing: Sharing,
}

/// What a node's prefix comes to.
#[derive(Debug, Clone, Copy, Default)]
struct Facts {
    tokens: u32,
    /// Bytes of its whole messages.
    whole: u32,
}

#[derive(Debug, Clone, Copy)]
struct Root {
    class: u32,
    head_bytes: u32,
    leading: u32,
}

/// A group must save so many prompt tokens beyond what its requests share with others anyway: a chunk
/// of its own costs a lease, which takes some milliseconds, and so do these.
const MIN_GAIN: u64 = 128;

// === impl Grouper ===

impl Grouper {
    pub(super) fn new(sharing: Sharing, max_nodes: u32) -> Self {
        let (nodes, facts, roots) = Default::default();
        Self { tree: Tree::new(max_nodes), nodes, facts, roots, sharing }
    }

    /// Takes the next requests, and keeps their tokens.
    pub(super) fn take(&mut self, counted: &Counted, scanned: &mut Scanned) -> Result<(), Error> {
        let Some(sketch) = &scanned.sketch else { return Err(Error::Inconsistent) };
        for (request, steps, marks) in counted.each() {
            let node = self.tree.insert(sketch, steps).map_err(|_| caravan_plan::Error::TooMany)?;
            let record = scanned.requests.get_mut(self.nodes.len()).ok_or(Error::Inconsistent)?;
            record.prompt_tokens = request.prompt_tokens;
            record.prompt_tokens_low = request.prompt_tokens_low;
            self.nodes.push(node);
            self.learn(request, marks);
        }
        Ok(())
    }

    /// Sets every request's group; gives the groups.
    pub(super) fn finish(self, scanned: &mut Scanned) -> Result<(Vec<Head>, Vec<Group>), Error> {
        let Self { tree, nodes, facts, roots, sharing } = self;
        if tree.capped() > 0 {
            tracing::warn!(
                requests = tree.capped(),
                "the prefix tree is full: these may share more than planned"
            );
        }
        if nodes.len() != scanned.requests.len() {
            return Err(Error::Inconsistent);
        }
        let facts_of = |node: NodeId| facts.get(node.index()).copied().unwrap_or_default();
        let grouping = tree.collapse(|node, _| facts_of(node).tokens, MIN_GAIN);
        let (mut heads, mut groups) = (Vec::new(), Vec::new());
        for group in &grouping.groups {
            let root = roots.get(group.root as usize).copied();
            let class = root.and_then(|root| scanned.classes.get(root.class as usize)).copied();
            let (Some(root), Some(class)) = (root, class) else { return Err(Error::Inconsistent) };
            let facts = facts_of(group.node);
            let answers = !class.endpoint.is_embedding();
            let bytes = root.head_bytes.saturating_add(facts.whole);
            heads.push(Head { model: class.model, prefix_tokens: facts.tokens, bytes, answers });
            let opening = sharing == Sharing::Opening && answers;
            let shared_messages = if opening { root.leading } else { group.shared.messages };
            groups.push(Group { class, shared_messages });
        }
        for (request, node) in scanned.requests.iter_mut().zip(&nodes) {
            let group = grouping.group(*node).ok_or(Error::Inconsistent)?;
            let shared = heads.get(group as usize).map_or(0, |head: &Head| head.bytes);
            *request = Request { group, bytes: request.bytes.saturating_sub(shared), ..*request };
        }
        Ok((heads, groups))
    }

    /// What is known of nodes that this request has brought.
    fn learn(&mut self, request: &CountedRequest, marks: &[Mark]) {
        let known = self.facts.len();
        for (_, shared) in self.tree.prefixes_from(known) {
            self.facts.push(facts(shared, marks, request, self.sharing));
        }
        for _ in self.roots.len()..self.tree.roots() as usize {
            let CountedRequest { class, head_bytes, leading, .. } = *request;
            self.roots.push(Root { class, head_bytes, leading });
        }
    }
}

/// A prefix may end within a message: its tokens are then in proportion to its bytes.
fn facts(shared: Shared, marks: &[Mark], request: &CountedRequest, sharing: Sharing) -> Facts {
    let mark = |at: usize| marks.get(at).copied();
    let first = mark(0).unwrap_or_default();
    if sharing == Sharing::Opening {
        let opening = mark(request.leading as usize).unwrap_or_default();
        return Facts { tokens: opening.tokens, whole: opening.bytes.saturating_sub(first.bytes) };
    }
    let before = mark(shared.messages as usize).unwrap_or_default();
    let after = mark(shared.messages as usize + 1)
        .unwrap_or(Mark { bytes: request.path_bytes, tokens: request.prompt_tokens });
    let (into, all) = (shared.bytes.saturating_sub(before.bytes), after.bytes.saturating_sub(before.bytes));
    let tokens = u64::from(after.tokens.saturating_sub(before.tokens)) * u64::from(into);
    let tokens = tokens.checked_div(all.into()).unwrap_or_default();
    Facts {
        tokens: before.tokens.saturating_add(u32::try_from(tokens).unwrap_or(u32::MAX)),
        whole: before.bytes.saturating_sub(first.bytes),
    }
}
