use super::{check_filled, check_items};
use crate::{
    Kinds,
    field::{Field, INTEGER, Shape},
    json::Node,
    path::Path,
    report::Report,
};

const fn number(name: &'static str, high: f64) -> Field {
    Field::new(name, Kinds::ALL, Shape::Number(0.0..=high))
}

const fn runner(name: &'static str) -> Field {
    Field::refused(name, "would reload the model in the middle of a batch: set it for the host instead")
}

const PENALTY: Shape = Shape::Number(f64::MIN..=f64::MAX);

/// Native `options`. Those not named here Ollama ignores without a word, so they are refused.
pub(super) const FIELDS: &[Field] = &[
    Field::new("num_predict", Kinds::ALL, Shape::Check(check_num_predict)),
    Field::new("seed", Kinds::ALL, INTEGER),
    number("temperature", f64::INFINITY),
    number("top_p", 1.0),
    number("min_p", 1.0),
    number("typical_p", 1.0),
    Field::new("top_k", Kinds::ALL, Shape::Integer(-1..=i32::MAX as i64)),
    Field::new("repeat_last_n", Kinds::ALL, Shape::Integer(-1..=i32::MAX as i64)),
    number("repeat_penalty", f64::INFINITY),
    Field::new("presence_penalty", Kinds::ALL, PENALTY),
    Field::new("frequency_penalty", Kinds::ALL, PENALTY),
    Field::new("stop", Kinds::ALL, Shape::Check(check_stop)),
    Field::refused("num_ctx", "is planned for each chunk from what its requests need: leave it out"),
    Field::refused("num_keep", "has no meaning where no context is ever shifted: leave it out"),
    runner("num_batch"),
    runner("num_gpu"),
    runner("main_gpu"),
    runner("use_mmap"),
    runner("num_thread"),
    runner("draft_num_predict"),
];

/// -1 and -2 leave the answer to the context's end; 0 an engine reads as unlimited.
fn check_num_predict(node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    match node {
        Node::Number(number) if number.as_i64() == Some(0) => {
            report
                .invalid(path, "is 0, which an engine reads as unlimited: give at least 1, or leave it out");
        }
        _ => Shape::Integer(-2..=i32::MAX as i64).check(node, path, report),
    }
}

fn check_stop(node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    match node {
        Node::Array(_) => check_items(node, path, 0, report, check_filled),
        _ => report.wrong_type(path, "an array of strings", node),
    }
}
