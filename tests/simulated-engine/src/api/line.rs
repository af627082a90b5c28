//! The native answer object: whole, as the lines of a stream, and as an error.

use std::time::Duration;

use axum::response::Response;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::engine::{DoneReason, Failure, Generation};

use super::deliver::{Errors, Form};

/// How the native API writes failures.
pub(super) const NATIVE_ERRORS: NativeErrors = NativeErrors;

#[derive(Debug, Clone, Copy)]
pub(super) struct NativeErrors;

/// How the native API writes answers.
#[derive(Debug)]
pub(super) struct Native {
    pub(super) model: String,
    /// Chat, or else generate.
    pub(super) chat: bool,
    /// With the tokens in `context`.
    pub(super) context: bool,
    pub(super) logprobs: bool,
}

#[derive(Debug, Default, Serialize)]
struct Line<'a> {
    model: &'a str,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Said<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<&'a str>,
    done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    done_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    context: Vec<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logprobs: Vec<Value>,
    #[serde(flatten)]
    counts: Option<Counts>,
}

#[derive(Debug, Serialize)]
struct Said<'a> {
    role: &'a str,
    content: &'a str,
}

/// Durations in nanoseconds; all but the cached count are left out when they are 0.
#[derive(Debug, Serialize)]
struct Counts {
    total_duration: u64,
    load_duration: u64,
    prompt_eval_count: usize,
    prompt_eval_duration: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_eval_cached_count: Option<usize>,
    eval_count: usize,
    eval_duration: u64,
}

/// The answer to a request without text: the model was loaded or unloaded.
pub(super) fn loaded(model: &str, chat: bool, reason: &str) -> Response {
    let line = Line { done: true, done_reason: Some(reason), ..said(model, chat, "") };
    super::json(200, super::JSON, write(&line))
}

/// The answer to `_debug_render_only`.
pub(super) fn rendered(model: &str, prompt: &str) -> Response {
    let mut line = json!(Line { message: Some(Said { role: "", content: "" }), ..said(model, true, "") });
    line["_debug_info"] = json!({"rendered_template": prompt});
    super::json(200, super::JSON, line.to_string())
}

fn said<'a>(model: &'a str, chat: bool, text: &'a str) -> Line<'a> {
    Line {
        model,
        created_at: Timestamp::now().to_string(),
        message: chat.then_some(Said { role: "assistant", content: text }),
        response: (!chat).then_some(text),
        ..Line::default()
    }
}

fn write(line: &impl Serialize) -> String {
    serde_json::to_string(line).unwrap_or_default()
}

// === impl NativeErrors ===

impl Errors for NativeErrors {
    fn content_type(&self) -> &'static str {
        super::JSON
    }

    fn failure(&self, failure: &Failure) -> String {
        json!({"error": failure.message}).to_string()
    }
}

// === impl Native ===

impl Native {
    fn ended<'a>(&'a self, generation: &'a Generation, text: &'a str) -> Line<'a> {
        let reason = match generation.reason {
            DoneReason::Stop => "stop",
            DoneReason::Length => "length",
            DoneReason::Aborted => return said(&self.model, self.chat, text),
        };
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1);
        Line {
            done: true,
            done_reason: Some(reason),
            context: if self.context { generation.context_ids() } else { Vec::new() },
            logprobs: if self.logprobs { logprobs(text) } else { Vec::new() },
            counts: Some(Counts {
                total_duration: nanos(generation.started.elapsed()),
                load_duration: nanos(generation.load),
                prompt_eval_count: generation.reported_prompt(),
                prompt_eval_duration: nanos(generation.prefill),
                prompt_eval_cached_count: generation.reported_cached(),
                eval_count: generation.answer_tokens,
                eval_duration: nanos(generation.decode),
            }),
            ..said(&self.model, self.chat, text)
        }
    }
}

impl Errors for Native {
    fn content_type(&self) -> &'static str {
        super::JSON
    }

    fn failure(&self, failure: &Failure) -> String {
        NATIVE_ERRORS.failure(failure)
    }
}

impl Form for Native {
    fn stream_type(&self) -> &'static str {
        "application/x-ndjson"
    }

    fn whole(&self, generation: &Generation) -> String {
        write(&self.ended(generation, &generation.text))
    }

    fn piece(&self, text: &str) -> String {
        write(&said(&self.model, self.chat, text)) + "\n"
    }

    fn last(&self, generation: &Generation) -> String {
        write(&self.ended(generation, "")) + "\n"
    }
}

/// One entry a word; every token is certain.
fn logprobs(text: &str) -> Vec<Value> {
    let entry = |word: &str| json!({"token": word, "logprob": 0.0, "bytes": word.as_bytes()});
    let with_top = |word: &str| {
        let mut of = entry(word);
        of["top_logprobs"] = json!([entry(word)]);
        of
    };
    text.split_ascii_whitespace().map(with_top).collect()
}
