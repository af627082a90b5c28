use super::{
    check_model, check_stream, message, sampling,
    sampling::{MAX_TOKENS, PENALTY},
    structured, tool,
};
use crate::{
    Kinds,
    field::{Field, INTEGER, Shape},
    json::Node,
    path::{Path, Quoted},
    report::Report,
};

/// `/v1/chat/completions`
pub(super) const FIELDS: &[Field] = &[
    Field::new("model", Kinds::ALL, Shape::Check(check_model)),
    Field::required("messages", Shape::Check(message::check_all)),
    Field::new("max_tokens", Kinds::ALL, MAX_TOKENS),
    Field::new("max_completion_tokens", Kinds::ALL, MAX_TOKENS),
    Field::new("temperature", Kinds::ALL, Shape::Number(0.0..=2.0)),
    Field::new("top_p", Kinds::ALL, Shape::Number(0.0..=1.0)),
    Field::new("seed", Kinds::ALL, INTEGER),
    Field::new("stop", Kinds::ALL, Shape::Check(sampling::check_stop)),
    Field::new("frequency_penalty", Kinds::ALL, PENALTY),
    Field::new("presence_penalty", Kinds::ALL, PENALTY),
    Field::new("logprobs", Kinds::ALL, Shape::Bool),
    Field::new("top_logprobs", Kinds::ALL, Shape::Integer(0..=20)),
    Field::new("reasoning_effort", Kinds::ALL, Shape::Check(check_effort)),
    Field::new("response_format", Kinds::ALL, Shape::Check(structured::check_response_format)),
    Field::new("tools", Kinds::ALL, Shape::Check(tool::check_tools)),
    Field::new("tool_choice", Kinds::ALL, Shape::Check(tool::check_choice)),
    Field::new("n", Kinds::ALL, Shape::Check(sampling::check_choices)),
    Field::new("parallel_tool_calls", Kinds::ALL, Shape::Check(tool::check_parallel)),
    Field::new("logit_bias", Kinds::OPEN_AI, Shape::Check(sampling::check_logit_bias)),
    Field::new("chat_template_kwargs", Kinds::OPEN_AI, Shape::AnyObject),
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
    Field::refused("functions", "is not honoured: use tools"),
    Field::refused("function_call", "is not honoured: use tool_choice"),
    Field::refused("audio", "is not honoured: engines answer in text"),
    Field::refused("modalities", "is not honoured: engines answer in text"),
    Field::refused("prediction", "is not honoured by any engine: leave it out"),
    Field::refused("service_tier", "is not honoured: a batch has a priority instead"),
    Field::refused("web_search_options", "is not honoured: engines search nothing"),
    Field::refused("verbosity", "is not honoured by any engine: say it in the prompt"),
];

const EFFORTS: &[&str] = &["none", "minimal", "low", "medium", "high", "xhigh"];

/// The efforts that a native engine's `think` can express.
const NATIVE_EFFORTS: &[&str] = &["none", "low", "medium", "high"];

fn check_effort(node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    Shape::OneOf(EFFORTS).check(node, path, report);
    if node.as_text().is_some_and(|effort| !NATIVE_EFFORTS.contains(&effort)) {
        report.restrict(Kinds::OPEN_AI, path);
    }
}

/// What only the fields together can tell.
pub(super) fn check_whole(body: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    if body.get("top_logprobs").is_some() && !matches!(body.get("logprobs"), Some(Node::Bool(true))) {
        report.invalid(&path.key("top_logprobs"), "needs logprobs to be true");
    }
    let [old, new] =
        ["max_tokens", "max_completion_tokens"].map(|name| body.get(name).and_then(Node::as_u64));
    if old.is_some() && new.is_some() && old != new {
        report.invalid(&path.key("max_tokens"), "and max_completion_tokens differ: give one of them");
    }
    let chosen = body.get("tool_choice").and_then(|choice| choice.get("function")?.get("name")?.as_text());
    if let Some(name) = chosen
        && !tool::names(body).any(|tool| tool == name)
    {
        report.invalid(
            &path.key("tool_choice"),
            format_args!("names {}, which is none of tools", Quoted(name)),
        );
    }
}
