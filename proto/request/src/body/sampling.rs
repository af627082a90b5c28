use super::{check_filled, check_items};
use crate::{
    Kinds,
    field::{Field, POSITIVE, Shape},
    json::Node,
    path::Path,
    report::Report,
};

/// Stop sequences at most, as OpenAI documents.
const MAX_STOPS: usize = 4;

/// Range of `logit_bias`, as OpenAI documents.
const BIAS: Shape = Shape::Number(-100.0..=100.0);

/// Range of both penalties, as OpenAI documents.
pub(super) const PENALTY: Shape = Shape::Number(-2.0..=2.0);

/// OpenAI's `stop`: one text or a few.
pub(super) fn check_stop(node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    match node {
        Node::Text(_) => check_filled(node, path, report),
        Node::Array(stops) if stops.len() > MAX_STOPS => {
            report.invalid(
                path,
                format_args!("has {} strings, but at most {MAX_STOPS} are allowed", stops.len()),
            );
        }
        Node::Array(_) => check_items(node, path, 0, report, check_filled),
        _ => report.wrong_type(path, "a string or an array of strings", node),
    }
}

/// `n`: how many answers. A native engine gives one.
pub(super) fn check_choices(node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    Shape::Integer(1..=128).check(node, path, report);
    if node.as_u64().is_some_and(|n| n > 1) {
        report.restrict(Kinds::OPEN_AI, path);
    }
}

/// `best_of`: no engine chooses among answers.
pub(super) fn check_best_of(node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    match node.as_u64() {
        Some(n) if n > 1 => report.unsupported(path, "is not honoured above 1: use n"),
        _ => POSITIVE.check(node, path, report),
    }
}

/// A field that a native engine honours only if it is `unless`.
pub(super) fn check_flag(node: &Node<'_>, path: &Path<'_>, unless: bool, report: &mut Report<'_>) {
    match node {
        Node::Bool(value) if *value == unless => {}
        Node::Bool(_) => report.restrict(Kinds::OPEN_AI, path),
        _ => report.wrong_type(path, "a boolean", node),
    }
}

/// `logit_bias`: token ids with their bias.
pub(super) fn check_logit_bias(node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    let Node::Object(entries) = node else {
        return report.wrong_type(path, "an object", node);
    };
    for (token, bias) in entries {
        let here = path.key(token);
        if token.parse::<u32>().is_err() {
            report.invalid(&here, "is not a token id");
        }
        BIAS.check(bias, &here, report);
    }
}

/// `top_k`, which OpenAI does not have but its imitators do; 0 and -1 turn it off.
pub(super) const TOP_K: Field = Field::new("top_k", Kinds::ALL, Shape::Integer(-1..=i32::MAX as i64));

/// `min_p`, likewise.
pub(super) const MIN_P: Field = Field::new("min_p", Kinds::ALL, Shape::Number(0.0..=1.0));

/// `typical_p`, which only llama-server has beside the native API.
pub(super) const TYPICAL_P: Field = Field::new("typical_p", Kinds::OPEN_AI, Shape::Number(0.0..=1.0));

/// `repeat_penalty`, likewise; 1 turns it off.
pub(super) const REPEAT_PENALTY: Field =
    Field::new("repeat_penalty", Kinds::OPEN_AI, Shape::Number(0.0..=f64::INFINITY));

/// `repeat_last_n`, likewise; -1 stands for the whole context.
pub(super) const REPEAT_LAST_N: Field =
    Field::new("repeat_last_n", Kinds::OPEN_AI, Shape::Integer(-1..=i32::MAX as i64));

/// `max_tokens`, under either spelling.
pub(super) const MAX_TOKENS: Shape = POSITIVE;
