use super::{
    check_filled, check_items, check_model, check_stream, sampling,
    sampling::{MAX_TOKENS, PENALTY},
};
use crate::{
    Kinds,
    field::{Field, INTEGER, Shape},
    json::Node,
    path::Path,
    report::Report,
};

/// `/v1/completions`
pub(super) const FIELDS: &[Field] = &[
    Field::new("model", Kinds::ALL, Shape::Check(check_model)),
    Field::required("prompt", Shape::Check(check_prompt)),
    Field::new("max_tokens", Kinds::ALL, MAX_TOKENS),
    Field::new("temperature", Kinds::ALL, Shape::Number(0.0..=2.0)),
    Field::new("top_p", Kinds::ALL, Shape::Number(0.0..=1.0)),
    Field::new("seed", Kinds::ALL, INTEGER),
    Field::new("stop", Kinds::ALL, Shape::Check(sampling::check_stop)),
    Field::new("frequency_penalty", Kinds::ALL, PENALTY),
    Field::new("presence_penalty", Kinds::ALL, PENALTY),
    Field::new("suffix", Kinds::OLLAMA, Shape::Text),
    Field::new("n", Kinds::ALL, Shape::Check(sampling::check_choices)),
    Field::new("best_of", Kinds::ALL, Shape::Check(sampling::check_best_of)),
    Field::new("echo", Kinds::ALL, Shape::Check(check_echo)),
    Field::new("logprobs", Kinds::ALL, Shape::Integer(0..=5)),
    Field::new("logit_bias", Kinds::OPEN_AI, Shape::Check(sampling::check_logit_bias)),
    sampling::TOP_K,
    sampling::MIN_P,
    sampling::TYPICAL_P,
    sampling::REPEAT_PENALTY,
    sampling::REPEAT_LAST_N,
    Field::not_sent("stream", Shape::Check(check_stream)),
    Field::not_sent("user", Shape::Text),
    Field::not_sent("metadata", Shape::AnyObject),
    Field::not_sent("store", Shape::Bool),
    Field::refused("stream_options", "has no meaning in a batch, whose answers are not streamed"),
];

/// One text, or one as token ids where the engine takes them: an answer belongs to one prompt.
fn check_prompt(node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    match node {
        Node::Text(_) => check_filled(node, path, report),
        Node::Array(prompts) => match prompts.as_slice() {
            [one @ Node::Text(_)] => check_filled(one, &path.index(0), report),
            [Node::Text(_) | Node::Array(_), ..] => {
                report.unsupported(path, "holds several prompts: give each a line of its own");
            }
            _ => {
                report.restrict(Kinds::OPEN_AI, path);
                check_items(node, path, 1, report, check_token);
            }
        },
        _ => report.wrong_type(path, "a string", node),
    }
}

/// An array of texts, of token ids, or of arrays of token ids; its first item tells which.
pub(super) fn check_texts_or_tokens(node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    check_items(node, path, 1, report, |item, path, report| match item {
        Node::Text(_) => check_filled(item, path, report),
        Node::Array(_) => check_items(item, path, 1, report, check_token),
        _ => check_token(item, path, report),
    });
    let of_one_type = node
        .as_array()
        .is_none_or(|items| items.windows(2).all(|pair| pair[0].type_name() == pair[1].type_name()));
    if !of_one_type {
        report.invalid(path, "mixes strings and token ids");
    }
}

fn check_token(node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    match node {
        Node::Number(_) => Shape::Integer(0..=i32::MAX as i64).check(node, path, report),
        _ => report.wrong_type(path, "a string or a token id", node),
    }
}

/// A native engine does not repeat the prompt.
fn check_echo(node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    sampling::check_flag(node, path, false, report);
}
