use crate::json::Node;

/// What stands in a part of a prompt, for a tokenizer to count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts {
    /// Its texts, in their order.
    pub texts: Vec<String>,
    /// Token ids that are given as such.
    pub token_ids: u64,
    /// Images.
    pub images: u64,
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

/// Whether a message is the system's.
pub(crate) fn is_system(message: &Node<'_>) -> bool {
    matches!(message.get("role").and_then(Node::as_text), Some("system" | "developer"))
}

// === impl Texts ===

impl Texts {
    /// Bytes of all texts.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.texts.iter().map(|text| text.len() as u64).sum()
    }

    pub(crate) fn push(&mut self, text: &str) {
        self.texts.push(text.to_owned());
    }

    /// Takes a field of a body that is no list of messages.
    pub(crate) fn add_field(&mut self, name: &str, node: &Node<'_>) {
        match node.as_array() {
            Some(images) if name == "images" => self.images += images.len() as u64,
            _ => self.add(node),
        }
    }

    pub(crate) fn add_message(&mut self, message: &Node<'_>) {
        for part in ["thinking", "reasoning_content", "content"] {
            message.get(part).into_iter().for_each(|node| self.add(node));
        }
        for call in message.get("tool_calls").and_then(Node::as_array).unwrap_or_default() {
            call.get("function").into_iter().for_each(|function| self.add_call(function));
        }
        self.images += message.get("images").and_then(Node::as_array).map_or(0, <[_]>::len) as u64;
    }

    fn add(&mut self, node: &Node<'_>) {
        match node {
            Node::Text(text) => self.push(text),
            Node::Number(_) => self.token_ids += 1,
            Node::Array(items) => items.iter().for_each(|item| self.add(item)),
            Node::Object(_) if node.get("image_url").is_some() => self.images += 1,
            Node::Object(_) => node.get("text").into_iter().for_each(|text| self.add(text)),
            Node::Bool(_) | Node::Null => {}
        }
    }

    /// The texts of a called function: its name and the texts of its arguments.
    fn add_call(&mut self, node: &Node<'_>) {
        match node {
            Node::Text(text) => self.push(text),
            Node::Array(items) => items.iter().for_each(|item| self.add_call(item)),
            Node::Object(fields) => fields.iter().for_each(|(key, value)| {
                self.push(key);
                self.add_call(value);
            }),
            Node::Number(number) => self.push(&number.to_string()),
            Node::Bool(_) | Node::Null => self.push("null"),
        }
    }
}
