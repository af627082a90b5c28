use super::{
    check_filled, check_items, check_model, check_stream, embedding, image, native_message, options,
    structured, tool,
};
use crate::{
    Kinds,
    field::{Field, POSITIVE, Shape},
    json::Node,
    path::{Path, Quoted},
    report::Report,
};

const MODEL: Field = Field::new("model", Kinds::ALL, Shape::Check(check_model));
const FORMAT: Field = Field::new("format", Kinds::ALL, Shape::Check(structured::check_format));
const THINK: Field = Field::new("think", Kinds::ALL, Shape::Check(check_think));
const OPTIONS: Field = Field::new("options", Kinds::ALL, Shape::Object(options::FIELDS));
const LOGPROBS: Field = Field::new("logprobs", Kinds::ALL, Shape::Bool);
const TOP_LOGPROBS: Field = Field::new("top_logprobs", Kinds::ALL, Shape::Integer(0..=20));
const STREAM: Field = Field::not_sent("stream", Shape::Check(check_stream));
const KEEP_ALIVE: Field =
    Field::refused("keep_alive", "is set by the executor, which keeps the model loaded");
const TRUNCATE: Field =
    Field::refused("truncate", "is set by the executor: a prompt too long is an error, never cut");
const SHIFT: Field =
    Field::refused("shift", "is set by the executor: an answer ends with the context, nothing is dropped");

/// `/api/chat`
pub(super) const CHAT: &[Field] = &[
    MODEL,
    Field::required("messages", Shape::Check(native_message::check_all)),
    Field::new("tools", Kinds::ALL, Shape::Check(tool::check_tools)),
    FORMAT,
    THINK,
    OPTIONS,
    LOGPROBS,
    TOP_LOGPROBS,
    STREAM,
    KEEP_ALIVE,
    TRUNCATE,
    SHIFT,
];

/// `/api/generate`
pub(super) const GENERATE: &[Field] = &[
    MODEL,
    Field::required("prompt", Shape::Check(check_filled)),
    Field::new("suffix", Kinds::OLLAMA, Shape::Text),
    Field::new("system", Kinds::ALL, Shape::Text),
    Field::new("template", Kinds::OLLAMA, Shape::Text),
    Field::new("raw", Kinds::ALL, Shape::Bool),
    Field::new("images", Kinds::ALL, Shape::Check(check_images)),
    FORMAT,
    THINK,
    OPTIONS,
    LOGPROBS,
    TOP_LOGPROBS,
    STREAM,
    KEEP_ALIVE,
    TRUNCATE,
    SHIFT,
    Field::refused("context", "is not honoured: give the exchange as messages to /api/chat"),
];

/// `/api/embed`
pub(super) const EMBED: &[Field] = &[
    MODEL,
    Field::required("input", Shape::Check(embedding::check_texts)),
    Field::new("dimensions", Kinds::ALL, POSITIVE),
    OPTIONS,
    STREAM,
    KEEP_ALIVE,
    TRUNCATE,
];

/// What only the fields of `/api/generate` together can tell.
pub(super) fn check_generate(body: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    if !matches!(body.get("raw"), Some(Node::Bool(true))) {
        return;
    }
    for name in ["system", "template"] {
        if body.get(name).is_some() {
            report.invalid(&path.key(name), "has no place in a raw prompt: leave out one of both");
        }
    }
    // A compatible engine takes a raw prompt as a completion, which is text alone.
    for name in ["images", "format", "think", "logprobs", "top_logprobs"] {
        if body.get(name).is_some_and(|value| !matches!(value, Node::Bool(false))) {
            report.restrict(Kinds::OLLAMA, &path.key(name));
        }
    }
}

/// Native `images`: base64 each.
pub(super) fn check_images(node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    check_items(node, path, 0, report, image::check_base64);
}

fn check_think(node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    match node {
        Node::Bool(_) => {}
        Node::Text(level) if matches!(level.as_ref(), "low" | "medium" | "high" | "max") => {}
        Node::Text(level) => {
            report.invalid(path, format_args!("is {}, not one of: low, medium, high, max", Quoted(level)));
        }
        _ => report.wrong_type(path, "a boolean or a level", node),
    }
}
