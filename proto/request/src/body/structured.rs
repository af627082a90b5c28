use super::tool;
use crate::{
    Kinds,
    field::{Field, Shape, check_object},
    json::Node,
    path::{Path, Quoted},
    report::Report,
};

const RESPONSE_FORMAT: &[Field] = &[
    Field::required("type", Shape::OneOf(&["text", "json_object", "json_schema"])),
    Field::new("json_schema", Kinds::ALL, Shape::Object(JSON_SCHEMA)),
];

const JSON_SCHEMA: &[Field] = &[
    Field::required("name", Shape::Check(tool::check_name)),
    Field::required("schema", Shape::AnyObject),
    Field::new("description", Kinds::ALL, Shape::Text),
    Field::new("strict", Kinds::ALL, Shape::Bool),
];

/// OpenAI's `response_format`.
pub(super) fn check_response_format(node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    check_object(node, path, RESPONSE_FORMAT, report);
    let kind = node.get("type").and_then(Node::as_text);
    if kind == Some("json_schema") && node.get("json_schema").is_none() {
        report.missing(&path.key("json_schema"));
    }
}

/// A native engine's `format`.
pub(super) fn check_format(node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    match node {
        Node::Object(_) => {}
        Node::Text(format) if format == "json" => {}
        Node::Text(format) => {
            report
                .invalid(path, format_args!("is {}, but must be \"json\" or a JSON schema", Quoted(format)));
        }
        _ => report.wrong_type(path, "\"json\" or an object with a JSON schema", node),
    }
}
