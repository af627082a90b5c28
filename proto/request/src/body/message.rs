use super::{check_items, image, tool};
use crate::{
    Kinds,
    field::{Field, Shape, check_object},
    json::Node,
    path::{Path, Quoted},
    report::Report,
};

const SYSTEM: &[Field] = &[
    Field::required("role", Shape::Any),
    Field::required("content", Shape::Check(check_text)),
    Field::new("name", Kinds::OPEN_AI, Shape::Text),
];

const USER: &[Field] = &[
    Field::required("role", Shape::Any),
    Field::required("content", Shape::Check(check_content)),
    Field::new("name", Kinds::OPEN_AI, Shape::Text),
];

const ASSISTANT: &[Field] = &[
    Field::required("role", Shape::Any),
    Field::new("content", Kinds::ALL, Shape::Check(check_text)),
    Field::new("tool_calls", Kinds::ALL, Shape::Check(tool::check_calls)),
    Field::new("name", Kinds::OPEN_AI, Shape::Text),
    Field::new("reasoning_content", Kinds::ALL, Shape::Text),
    Field::refused("refusal", "is not honoured: give what the assistant said as content"),
    Field::refused("audio", "is not honoured: give what the assistant said as content"),
    Field::refused("function_call", "is not honoured: use tool_calls"),
];

const TOOL: &[Field] = &[
    Field::required("role", Shape::Any),
    Field::required("content", Shape::Check(check_text)),
    Field::required("tool_call_id", Shape::Text),
    Field::new("name", Kinds::ALL, Shape::Text),
];

const TEXT_PART: &[Field] = &[Field::required("type", Shape::Any), Field::required("text", Shape::Text)];

const IMAGE_PART: &[Field] =
    &[Field::required("type", Shape::Any), Field::required("image_url", Shape::Object(IMAGE_URL))];

const IMAGE_URL: &[Field] = &[
    Field::required("url", Shape::Check(image::check_data_uri)),
    Field::new("detail", Kinds::ALL, Shape::Check(image::check_detail)),
];

/// OpenAI's `messages`.
pub(super) fn check_all(node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    check_items(node, path, 1, report, check_one);
}

fn check_one(message: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    let table = match check_role(message, path, report) {
        None => return,
        Some("system" | "developer") => SYSTEM,
        Some("user") => USER,
        Some("assistant") => ASSISTANT,
        Some("tool") => TOOL,
        Some(role) => {
            // Engines drop a message whose role they do not know without a word.
            let why =
                format_args!("is {}, not one of: system, developer, user, assistant, tool", Quoted(role));
            return report.invalid(&path.key("role"), why);
        }
    };
    check_object(message, path, table, report);
    let is_answer = message.get("role").and_then(Node::as_text) == Some("assistant");
    if is_answer && message.get("content").is_none() && message.get("tool_calls").is_none() {
        report.missing(&path.key("content"));
    }
}

/// The role of `message`, or none after saying why.
pub(super) fn check_role<'m>(
    message: &'m Node<'_>,
    path: &Path<'_>,
    report: &mut Report<'_>,
) -> Option<&'m str> {
    let here = path.key("role");
    match (message, message.get("role")) {
        (Node::Object(_), Some(Node::Text(role))) => return Some(role),
        (Node::Object(_), Some(other)) => report.wrong_type(&here, "a string", other),
        (Node::Object(_), None) => report.missing(&here),
        _ => report.wrong_type(path, "an object", message),
    }
    None
}

/// Content that is text only: a string, or parts of text.
fn check_text(node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    check_parts(node, path, report, |part, path, report| match part_type(part, path, report) {
        Some("text") => check_object(part, path, TEXT_PART, report),
        Some(other) => {
            report.invalid(
                &path.key("type"),
                format_args!("is {}, but this role takes text only", Quoted(other)),
            );
        }
        None => {}
    });
}

/// Content of a user: text and images.
fn check_content(node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    check_parts(node, path, report, |part, path, report| match part_type(part, path, report) {
        Some("text") => check_object(part, path, TEXT_PART, report),
        Some("image_url") => check_object(part, path, IMAGE_PART, report),
        Some("input_audio" | "file") => {
            report.unsupported(&path.key("type"), "is not honoured: engines read text and images");
        }
        Some(other) => {
            report.invalid(
                &path.key("type"),
                format_args!("is {}, not one of: text, image_url", Quoted(other)),
            );
        }
        None => {}
    });
}

fn check_parts(
    node: &Node<'_>,
    path: &Path<'_>,
    report: &mut Report<'_>,
    check: impl Fn(&Node<'_>, &Path<'_>, &mut Report<'_>),
) {
    match node {
        Node::Text(_) => {}
        Node::Array(_) => check_items(node, path, 1, report, check),
        _ => report.wrong_type(path, "a string or an array of parts", node),
    }
}

fn part_type<'m>(part: &'m Node<'_>, path: &Path<'_>, report: &mut Report<'_>) -> Option<&'m str> {
    let here = path.key("type");
    match (part, part.get("type")) {
        (Node::Object(_), Some(Node::Text(kind))) => return Some(kind),
        (Node::Object(_), Some(other)) => report.wrong_type(&here, "a string", other),
        (Node::Object(_), None) => report.missing(&here),
        _ => report.wrong_type(path, "an object", part),
    }
    None
}
