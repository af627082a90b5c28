use super::{check_items, sampling};
use crate::{
    Kinds,
    field::{Field, Shape, check_object},
    json::Node,
    path::{Path, Quoted},
    report::Report,
};

const TOOL: &[Field] = &[
    Field::required("type", Shape::OneOf(&["function"])),
    Field::required("function", Shape::Object(FUNCTION)),
];

const FUNCTION: &[Field] = &[
    Field::required("name", Shape::Check(check_name)),
    Field::new("description", Kinds::ALL, Shape::Text),
    Field::new("parameters", Kinds::ALL, Shape::AnyObject),
    Field::new("strict", Kinds::ALL, Shape::Check(check_strict)),
];

const CALL: &[Field] = &[
    Field::required("id", Shape::Text),
    Field::required("type", Shape::OneOf(&["function"])),
    Field::required("function", Shape::Object(CALLED)),
];

const CALLED: &[Field] =
    &[Field::required("name", Shape::Text), Field::required("arguments", Shape::Check(check_arguments))];

const CHOICE: &[Field] = &[
    Field::required("type", Shape::OneOf(&["function"])),
    Field::required("function", Shape::Object(CHOSEN)),
];

const CHOSEN: &[Field] = &[Field::required("name", Shape::Text)];

/// Tools at most, as OpenAI documents.
const MAX_TOOLS: usize = 128;

/// Bytes of a name at most, as OpenAI documents.
const MAX_NAME: usize = 64;

/// `tools`, in both dialects.
pub(super) fn check_tools(node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    if let Some(tools) = node.as_array().filter(|tools| tools.len() > MAX_TOOLS) {
        report.invalid(path, format_args!("has {} tools, but at most {MAX_TOOLS} are allowed", tools.len()));
    }
    check_items(node, path, 0, report, |tool, path, report| check_object(tool, path, TOOL, report));
}

/// An assistant message's `tool_calls`.
pub(super) fn check_calls(node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    check_items(node, path, 1, report, |call, path, report| check_object(call, path, CALL, report));
}

/// `parallel_tool_calls`: a native engine leaves it to its model.
pub(super) fn check_parallel(node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    sampling::check_flag(node, path, true, report);
}

/// `tool_choice`: a native engine cannot force a call.
pub(super) fn check_choice(node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    match node {
        Node::Text(choice) if choice == "auto" || choice == "none" => {}
        Node::Text(choice) if choice == "required" => report.restrict(Kinds::OPEN_AI, path),
        Node::Text(choice) => {
            report.invalid(path, format_args!("is {}, not one of: auto, none, required", Quoted(choice)));
        }
        Node::Object(_) => {
            report.restrict(Kinds::OPEN_AI, path);
            check_object(node, path, CHOICE, report);
        }
        _ => report.wrong_type(path, "a string or an object", node),
    }
}

/// A name of a function or a schema.
pub(super) fn check_name(node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    let is_good = |name: &str| {
        (1..=MAX_NAME).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    match node.as_text() {
        None => report.wrong_type(path, "a string", node),
        Some(name) if !is_good(name) => {
            report.invalid(path, format_args!("must be 1 to {MAX_NAME} of a-z, A-Z, 0-9, _ and -"));
        }
        Some(_) => {}
    }
}

/// The names of a body's tools.
pub(super) fn names<'b>(body: &'b Node<'_>) -> impl Iterator<Item = &'b str> {
    let tools = body.get("tools").and_then(Node::as_array).unwrap_or_default();
    tools.iter().filter_map(|tool| tool.get("function")?.get("name")?.as_text())
}

/// A native engine does not bind a tool's arguments to their schema.
fn check_strict(node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    sampling::check_flag(node, path, false, report);
}

/// OpenAI gives a call's arguments as JSON in a string; a native engine wants the object.
fn check_arguments(node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    let Some(text) = node.as_text() else {
        return report.wrong_type(path, "a string", node);
    };
    let is_object = text.trim_start().starts_with('{')
        && serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok();
    if !is_object {
        report.invalid(path, "must be a JSON object written as a string");
    }
}
