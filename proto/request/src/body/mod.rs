//! What a body may hold, endpoint by endpoint: one table each.

mod chat;
mod completion;
mod embedding;
mod image;
mod message;
mod native;
mod native_message;
mod options;
mod sampling;
mod structured;
mod tool;

use crate::{
    Code, Endpoint, EngineKind, Field, Treatment,
    field::check_object,
    json::Node,
    path::{Path, Quoted},
    report::Report,
};

/// The top-level fields that a body for `endpoint` may have; any other is unsupported.
#[must_use]
pub fn fields(endpoint: Endpoint) -> &'static [Field] {
    match endpoint {
        Endpoint::ChatCompletions => chat::FIELDS,
        Endpoint::Completions => completion::FIELDS,
        Endpoint::Embeddings => embedding::FIELDS,
        Endpoint::OllamaChat => native::CHAT,
        Endpoint::OllamaGenerate => native::GENERATE,
        Endpoint::OllamaEmbed => native::EMBED,
    }
}

/// What becomes of the top-level field `name` of a body for `endpoint` on an engine of `kind`.
#[must_use]
pub fn treatment(kind: EngineKind, endpoint: Endpoint, name: &str) -> Treatment {
    fields(endpoint)
        .iter()
        .find(|field| field.name() == name)
        .map_or(Treatment::Unsupported, |field| field.treatment(kind))
}

/// Whether a body for `endpoint` may name `field` if an engine of `kind` is to run it.
#[must_use]
pub fn honours(kind: EngineKind, endpoint: Endpoint, field: &str) -> bool {
    treatment(kind, endpoint, field) != Treatment::Unsupported
}

/// Checks a whole body.
pub(crate) fn check(body: &Node<'_>, path: &Path<'_>, endpoint: Endpoint, report: &mut Report<'_>) {
    check_object(body, path, fields(endpoint), report);
    if !matches!(body, Node::Object(_)) {
        return;
    }
    if body.get("model").is_none() && report.policy.model.is_none() {
        report.missing(&path.key("model"));
    }
    match endpoint {
        Endpoint::ChatCompletions => chat::check_whole(body, path, report),
        Endpoint::OllamaGenerate => native::check_generate(body, path, report),
        _ => {}
    }
}

fn check_model(node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    match (node.as_text(), report.policy.model) {
        (None, _) => report.wrong_type(path, "a string", node),
        (Some(""), _) => report.invalid(path, "is empty"),
        (Some(model), _) if model.contains(char::is_control) => {
            report.invalid(path, "has control characters");
        }
        (Some(model), Some(expected)) if model != expected => {
            let why = format_args!("{path} is {}, but the batch is for {}", Quoted(model), Quoted(expected));
            report.field(Code::ModelMismatch, path, why);
        }
        _ => {}
    }
}

fn check_stream(node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    match node {
        Node::Bool(false) => {}
        Node::Bool(true) => {
            let why = "a batch's answers are not streamed token by token: leave stream out";
            report.field(Code::StreamNotSupported, path, why);
        }
        _ => report.wrong_type(path, "a boolean", node),
    }
}

/// Checks an array of `least` items or more, each by `check`.
fn check_items(
    node: &Node<'_>,
    path: &Path<'_>,
    least: usize,
    report: &mut Report<'_>,
    check: impl Fn(&Node<'_>, &Path<'_>, &mut Report<'_>),
) {
    let Some(items) = node.as_array() else {
        return report.wrong_type(path, "an array", node);
    };
    if items.len() < least {
        report.invalid(path, format_args!("has {} items, but must have at least {least}", items.len()));
    }
    for (index, item) in items.iter().enumerate() {
        if report.is_full() {
            return;
        }
        check(item, &path.index(index), report);
    }
}

/// Checks a text that must not be empty.
fn check_filled(node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    match node.as_text() {
        None => report.wrong_type(path, "a string", node),
        Some("") => report.invalid(path, "is empty"),
        Some(_) => {}
    }
}
