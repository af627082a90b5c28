use crate::json::Node;

/// Sizes of a prompt.
#[derive(Debug, Default)]
pub(crate) struct Prompt {
    pub(crate) messages: usize,
    pub(crate) system_messages: usize,
    pub(crate) bytes: u64,
    pub(crate) own_bytes: u64,
    pub(crate) token_ids: u64,
    pub(crate) images: u64,
}

/// Bytes that a JSON value's punctuation and a number or literal take, about.
const SCALAR_BYTES: u64 = 4;

/// Measures the prompt of a valid body.
pub(crate) fn prompt(body: &Node<'_>) -> Prompt {
    let mut sizes = Prompt::default();
    for name in ["prompt", "input", "suffix"] {
        body.get(name).into_iter().for_each(|node| sizes.add(node));
    }
    sizes.own_bytes = sizes.bytes;
    if let Some(messages) = body.get("messages").and_then(Node::as_array) {
        sizes.messages = messages.len();
        sizes.system_messages = messages.iter().take_while(|message| is_system(message)).count();
        for message in messages {
            let before = sizes.bytes;
            sizes.add_message(message);
            sizes.own_bytes = sizes.bytes - before;
        }
    }
    body.get("system").into_iter().for_each(|node| sizes.add(node));
    sizes.bytes += body.get("tools").map_or(0, json_bytes);
    sizes.images += body.get("images").and_then(Node::as_array).map_or(0, <[_]>::len) as u64;
    sizes
}

/// Tokens of answer that a valid body allows; a native negative means no limit of its own.
pub(crate) fn max_tokens(body: &Node<'_>) -> Option<u64> {
    let options = body.get("options");
    [
        body.get("max_completion_tokens"),
        body.get("max_tokens"),
        options.and_then(|options| options.get("num_predict")),
    ]
    .into_iter()
    .flatten()
    .find_map(Node::as_u64)
}

/// Calls `take` with each text of a prompt's part, in order.
pub(crate) fn each_text<'n>(node: &'n Node<'_>, take: &mut impl FnMut(&'n str)) {
    match node {
        Node::Text(text) => take(text),
        Node::Array(items) => items.iter().for_each(|item| each_text(item, take)),
        Node::Object(_) => node.get("text").into_iter().for_each(|text| each_text(text, take)),
        _ => {}
    }
}

fn is_system(message: &Node<'_>) -> bool {
    matches!(message.get("role").and_then(Node::as_text), Some("system" | "developer"))
}

/// Length of a value written as JSON, about.
fn json_bytes(node: &Node<'_>) -> u64 {
    match node {
        Node::Text(text) => text.len() as u64 + SCALAR_BYTES,
        Node::Array(items) => SCALAR_BYTES + items.iter().map(json_bytes).sum::<u64>(),
        Node::Object(fields) => {
            fields.iter().map(|(key, value)| key.len() as u64 + SCALAR_BYTES + json_bytes(value)).sum::<u64>()
        }
        _ => SCALAR_BYTES,
    }
}

// === impl Prompt ===

impl Prompt {
    fn add_message(&mut self, message: &Node<'_>) {
        for name in ["content", "thinking", "reasoning_content"] {
            message.get(name).into_iter().for_each(|node| self.add(node));
        }
        self.bytes += message.get("tool_calls").map_or(0, json_bytes);
        self.images += message.get("images").and_then(Node::as_array).map_or(0, <[_]>::len) as u64;
    }

    fn add(&mut self, node: &Node<'_>) {
        match node {
            Node::Number(_) => self.token_ids += 1,
            Node::Array(items) => items.iter().for_each(|item| self.add(item)),
            Node::Object(_) if node.get("image_url").is_some() => self.images += 1,
            _ => each_text(node, &mut |text| self.bytes += text.len() as u64),
        }
    }
}
