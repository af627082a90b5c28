use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value, value::RawValue};

use crate::{
    content_hash,
    json::{Key, refuse_twins},
};

/// A body in two parts: what requests of a group share, and what is this request's own.
/// [`merge`] puts them together again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// JSON object: the model, the leading messages and what else shapes the prompt or is
    /// bulky (tools, response format), each as the client wrote it and in the same order.
    pub head: String,
    /// JSON object: the last messages or the prompt, and the numbers of this request.
    pub own: String,
    /// [`content_hash`] of `head`: requests with equal heads share a group.
    pub head_hash: u128,
}

/// A body's top-level fields in their order, the values as text.
pub(crate) struct Fields<'a>(pub(crate) Vec<(Cow<'a, str>, &'a RawValue)>);

/// Fields that differ from request to request without changing what a prompt starts with.
pub(crate) const OWN: &[&str] = &[
    "prompt",
    "input",
    "suffix",
    "images",
    "max_tokens",
    "max_completion_tokens",
    "seed",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "stop",
    "options",
    "frequency_penalty",
    "presence_penalty",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "n",
    "user",
    "metadata",
];

/// Splits `body`, the text of a valid one: its first `shared_messages` messages go to the
/// head, the others are its own. A chat's leading ones are all but the last; bodies without
/// messages keep their prompt to themselves. Equal text gives equal parts.
///
/// # Errors
/// `body` is not a JSON object, or its `messages` no array.
pub fn split(body: &str, shared_messages: usize) -> serde_json::Result<Parts> {
    let mut head = Object::with_capacity(body.len());
    let mut own = Object::with_capacity(body.len());
    for (key, value) in serde_json::from_str::<Fields<'_>>(body)?.0 {
        if key == "messages" {
            let messages: Vec<&RawValue> = serde_json::from_str(value.get())?;
            let (first, last) = messages.split_at(shared_messages.min(messages.len()));
            head.push_array(&key, first);
            own.push_array(&key, last);
        } else if OWN.contains(&key.as_ref()) {
            own.push(&key, value.get());
        } else {
            head.push(&key, value.get());
        }
    }
    let (head, own) = (head.close(), own.close());
    let head_hash = content_hash(head.as_bytes());
    Ok(Parts { head, own, head_hash })
}

/// The whole body: `shared` with the fields of `own` set over it, and the `messages` of both
/// one after the other.
///
/// # Errors
/// One of them is not a JSON object.
pub fn merge(shared: &str, own: &str) -> serde_json::Result<Map<String, Value>> {
    let mut whole: Map<String, Value> = serde_json::from_str(shared)?;
    for (key, value) in serde_json::from_str::<Map<String, Value>>(own)? {
        match (whole.get_mut(&key), value) {
            (Some(Value::Array(messages)), Value::Array(more)) if key == "messages" => messages.extend(more),
            (_, value) => {
                whole.insert(key, value);
            }
        }
    }
    Ok(whole)
}

// === impl Object ===

/// A JSON object while it is written.
pub(crate) struct Object(String);

impl Object {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self(String::with_capacity(bytes + 2))
    }

    pub(crate) fn push(&mut self, key: &str, value: &str) {
        self.open(key);
        self.0.push_str(value);
    }

    pub(crate) fn push_array(&mut self, key: &str, items: &[&RawValue]) {
        self.open(key);
        for (index, item) in items.iter().enumerate() {
            self.0.push(if index == 0 { '[' } else { ',' });
            self.0.push_str(item.get());
        }
        self.0.push_str(if items.is_empty() { "[]" } else { "]" });
    }

    fn open(&mut self, key: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        // A Value writes itself as JSON without a way to fail.
        self.0.push_str(&Value::from(key).to_string());
        self.0.push(':');
    }

    pub(crate) fn close(mut self) -> String {
        self.0.push_str(if self.0.is_empty() { "{}" } else { "}" });
        self.0
    }
}

// === impl Fields ===

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Vec::new();
        while let Some(key) = entries.next_key_seed(Key)? {
            fields.push((key, entries.next_value()?));
        }
        refuse_twins(&fields)?;
        Ok(Fields(fields))
    }
}
