use std::cell::Cell;

use crate::{json::Node, measure::each_text, split::Fields};

/// The texts that a tokenizer has to count for `object`, a body or either of its
/// [`Parts`](crate::Parts), in their order: tools (as JSON), system text, messages, prompt or
/// input. What a model's template adds around them is not among them.
///
/// # Errors
/// `object` is not a JSON object.
pub fn prompt_texts(object: &str) -> serde_json::Result<Vec<String>> {
    let fields = serde_json::from_str::<Fields<'_>>(object)?.0;
    let mut texts = Vec::new();
    for name in ["tools", "system", "messages", "prompt", "suffix", "input"] {
        let Some((_, value)) = fields.iter().find(|(key, _)| key == name) else {
            continue;
        };
        if name == "tools" {
            texts.push(value.get().to_owned());
            continue;
        }
        let node = Node::parse(value.get(), &Cell::new(usize::MAX))?;
        let mut take = |text: &str| texts.push(text.to_owned());
        match node.as_array() {
            Some(messages) if name == "messages" => messages.iter().for_each(|message| {
                for part in ["thinking", "reasoning_content", "content"] {
                    message.get(part).into_iter().for_each(|node| each_text(node, &mut take));
                }
                for call in message.get("tool_calls").and_then(Node::as_array).unwrap_or_default() {
                    call.get("function").into_iter().for_each(|function| each_call_text(function, &mut take));
                }
            }),
            _ => each_text(&node, &mut take),
        }
    }
    Ok(texts)
}

/// The texts of a called function: its name and the texts of its arguments.
fn each_call_text(node: &Node<'_>, take: &mut impl FnMut(&str)) {
    match node {
        Node::Text(text) => take(text),
        Node::Array(items) => items.iter().for_each(|item| each_call_text(item, take)),
        Node::Object(fields) => fields.iter().for_each(|(key, value)| {
            take(key);
            each_call_text(value, take);
        }),
        Node::Bool(_) | Node::Number(_) | Node::Null => take("null"),
    }
}
