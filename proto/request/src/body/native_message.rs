use super::{check_items, message::check_role, native::check_images};
use crate::{
    Kinds,
    field::{Field, Shape, check_object},
    json::Node,
    path::{Path, Quoted},
    report::Report,
};

const MESSAGE: &[Field] = &[
    Field::required("role", Shape::Any),
    Field::new("content", Kinds::ALL, Shape::Text),
    Field::new("images", Kinds::ALL, Shape::Check(check_images)),
    Field::new("thinking", Kinds::ALL, Shape::Text),
    Field::new("tool_calls", Kinds::ALL, Shape::Check(check_calls)),
    Field::new("tool_name", Kinds::ALL, Shape::Text),
    Field::new("tool_call_id", Kinds::ALL, Shape::Text),
];

const CALL: &[Field] = &[
    Field::new("id", Kinds::ALL, Shape::Text),
    Field::new("type", Kinds::ALL, Shape::OneOf(&["function"])),
    Field::required("function", Shape::Object(CALLED)),
];

const CALLED: &[Field] = &[
    Field::required("name", Shape::Text),
    Field::required("arguments", Shape::AnyObject),
    Field::new("index", Kinds::ALL, Shape::Integer(0..=i32::MAX as i64)),
];

/// The native `messages`.
pub(super) fn check_all(node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    check_items(node, path, 1, report, check_one);
}

fn check_one(message: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    let Some(role) = check_role(message, path, report) else {
        return;
    };
    if !matches!(role, "system" | "user" | "assistant" | "tool") {
        // Ollama renders a message of any other role to nothing and answers 200.
        let why = format_args!("is {}, not one of: system, user, assistant, tool", Quoted(role));
        return report.invalid(&path.key("role"), why);
    }
    check_object(message, path, MESSAGE, report);
    let says_nothing = ["content", "images", "tool_calls"].iter().all(|name| message.get(name).is_none());
    if says_nothing {
        report.missing(&path.key("content"));
    }
}

fn check_calls(node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    check_items(node, path, 0, report, |call, path, report| check_object(call, path, CALL, report));
}
