use std::cell::Cell;

use serde_json::value::RawValue;

use crate::{
    json::Node,
    measure::{Texts, is_system},
    split::{Fields, OWN, Object},
};

/// A body taken apart for planning, in the order in which a model reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline<'a> {
    /// JSON object of the fields that keep requests apart whatever their messages are: the head that
    /// [`split`](crate::split) gives where no message is shared.
    pub head: String,
    /// What of `head` stands in the prompt: tools (as JSON) and system text.
    pub preamble: Texts,
    /// The messages, in their order.
    pub messages: Vec<Message<'a>>,
    /// A prompt or input that is no list of messages, as it stands in the body; empty if there is none.
    pub prompt: &'a str,
    /// What stands in that.
    pub prompt_texts: Texts,
    raw: bool,
}

/// One message of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// As it stands in the body.
    pub raw: &'a str,
    /// Whether it is the system's.
    pub system: bool,
    /// What stands in it.
    pub texts: Texts,
}

impl<'a> Outline<'a> {
    /// Takes `body`, the text of a valid one, apart. What a model's template adds around the texts is
    /// not among them.
    ///
    /// # Errors
    /// `body` is not a JSON object, or its `messages` no array.
    pub fn of(body: &'a str) -> serde_json::Result<Self> {
        let mut head = Object::with_capacity(64);
        let mut outline = Self {
            head: String::new(),
            preamble: Texts::default(),
            messages: Vec::new(),
            prompt: "",
            prompt_texts: Texts::default(),
            raw: false,
        };
        for (key, value) in serde_json::from_str::<Fields<'a>>(body)?.0 {
            match key.as_ref() {
                "messages" => {
                    let messages: Vec<&'a RawValue> = serde_json::from_str(value.get())?;
                    outline.messages = messages.into_iter().map(message).collect::<Result<_, _>>()?;
                    // Their place among the fields tells heads apart, as it does when they are split.
                    head.push_array(&key, &[]);
                    continue;
                }
                "prompt" | "input" => outline.prompt = value.get(),
                "raw" => outline.raw = value.get() == "true",
                "tools" => outline.preamble.push(value.get()),
                _ => {}
            }
            match key.as_ref() {
                "prompt" | "input" | "suffix" | "images" => {
                    outline.prompt_texts.add_field(&key, &parse(value)?)
                }
                "system" => outline.preamble.add_field(&key, &parse(value)?),
                _ => {}
            }
            if !OWN.contains(&key.as_ref()) {
                head.push(&key, value.get());
            }
        }
        outline.head = head.close();
        Ok(outline)
    }
}

impl Outline<'_> {
    /// Whether the prompt is read without the model's template.
    #[must_use]
    pub fn is_raw(&self) -> bool {
        self.raw
    }
}

fn message(raw: &RawValue) -> serde_json::Result<Message<'_>> {
    let node = parse(raw)?;
    let mut texts = Texts::default();
    texts.add_message(&node);
    Ok(Message { raw: raw.get(), system: is_system(&node), texts })
}

fn parse(raw: &RawValue) -> serde_json::Result<Node<'_>> {
    Node::parse(raw.get(), &Cell::new(usize::MAX))
}
