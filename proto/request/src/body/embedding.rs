use super::{check_filled, check_items, check_model, check_stream, completion};
use crate::{
    Kinds,
    field::{Field, POSITIVE, Shape},
    json::Node,
    path::Path,
    report::Report,
};

/// `/v1/embeddings`
pub(super) const FIELDS: &[Field] = &[
    Field::new("model", Kinds::ALL, Shape::Check(check_model)),
    Field::required("input", Shape::Check(check_input)),
    Field::new("dimensions", Kinds::ALL, POSITIVE),
    Field::new("encoding_format", Kinds::ALL, Shape::OneOf(&["float", "base64"])),
    Field::not_sent("stream", Shape::Check(check_stream)),
    Field::not_sent("user", Shape::Text),
    Field::not_sent("metadata", Shape::AnyObject),
    Field::not_sent("store", Shape::Bool),
];

/// Inputs of one request at most, as OpenAI documents.
const MAX_INPUTS: usize = 2048;

/// One text or several; token ids only where the engine takes them.
fn check_input(node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    match node {
        Node::Array(inputs) if matches!(inputs.first(), Some(Node::Number(_) | Node::Array(_))) => {
            report.restrict(Kinds::OPEN_AI, path);
            completion::check_texts_or_tokens(node, path, report);
        }
        _ => check_texts(node, path, report),
    }
}

/// `input` as a text or an array of texts.
pub(super) fn check_texts(node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    match node {
        Node::Text(_) => check_filled(node, path, report),
        Node::Array(inputs) if inputs.len() > MAX_INPUTS => {
            report.invalid(
                path,
                format_args!("has {} texts, but at most {MAX_INPUTS} are allowed", inputs.len()),
            );
        }
        Node::Array(_) => check_items(node, path, 1, report, check_filled),
        _ => report.wrong_type(path, "a string or an array of strings", node),
    }
}
