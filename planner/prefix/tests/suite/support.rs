//! Prompts, and what becomes of them.

use caravan_prefix::{Grouping, MAX_NODES, NodeId, Path, Sketch, Step, Tree};

/// A root key and messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prompt {
    pub(crate) key: String,
    pub(crate) messages: Vec<String>,
}

impl Prompt {
    pub(crate) fn new(messages: &[&str]) -> Self {
        Self { key: "model".into(), messages: messages.iter().map(|&message| message.into()).collect() }
    }

    pub(crate) fn steps(&self) -> Vec<Step> {
        let mut path = Path::default();
        path.begin(self.key.as_bytes(), 0);
        self.messages.iter().for_each(|message| path.message(message.as_bytes()));
        path.steps().to_vec()
    }

    /// The messages one after the other.
    pub(crate) fn text(&self) -> String {
        self.messages.concat()
    }
}

/// Both readings.
pub(crate) fn insert<'s>(
    paths: impl Iterator<Item = &'s [Step]> + Clone,
    mut sketch: Sketch,
    max_nodes: u32,
) -> (Tree, Vec<NodeId>) {
    paths.clone().for_each(|steps| sketch.see(steps));
    let mut tree = Tree::new(max_nodes);
    let nodes = paths.map(|steps| tree.insert(&sketch, steps).unwrap()).collect();
    (tree, nodes)
}

/// Groups by bytes, and the group of each request.
pub(crate) fn group(prompts: &[Prompt], min_gain: u64) -> (Grouping, Vec<u32>) {
    let paths: Vec<Vec<Step>> = prompts.iter().map(Prompt::steps).collect();
    let (tree, nodes) = insert(paths.iter().map(Vec::as_slice), Sketch::new(1 << 20), MAX_NODES);
    let grouping = tree.collapse(|_, shared| shared.bytes, min_gain);
    let of = nodes.iter().map(|&node| grouping.group(node).unwrap()).collect();
    (grouping, of)
}

/// Text without repetitions, different for each seed.
pub(crate) fn text(seed: u32, bytes: usize) -> String {
    let mut text = String::new();
    for number in 0u32.. {
        if text.len() >= bytes {
            break;
        }
        text.push_str(&format!("{seed}.{number} "));
    }
    text.truncate(bytes);
    text
}
