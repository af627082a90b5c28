//! The objects of `/v1`: completions, their chunks, errors.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::engine::{DoneReason, Failure, Generation};
use crate::tokens::hash;

use super::deliver::{Errors, Form};

/// How `/v1` writes failures.
#[derive(Debug, Clone, Copy)]
pub(super) struct V1Errors {
    /// The 0.33 line, which has a type of its own for what is not found.
    pub(super) v0_33: bool,
}

/// How `/v1` writes answers.
#[derive(Debug)]
pub(super) struct V1 {
    pub(super) model: String,
    /// Chat, or else a completion.
    pub(super) chat: bool,
    /// The stream ends with a chunk of its usage.
    pub(super) usage: bool,
    pub(super) errors: V1Errors,
}

// === impl V1Errors ===

impl Errors for V1Errors {
    fn content_type(&self) -> &'static str {
        "application/json"
    }

    fn failure(&self, failure: &Failure) -> String {
        let kind = match failure.status {
            400 => "invalid_request_error",
            404 if self.v0_33 => "not_found_error",
            _ => "api_error",
        };
        let error = json!({"message": failure.message, "type": kind, "param": null, "code": null});
        json!({"error": error}).to_string() + "\n"
    }
}

// === impl V1 ===

impl V1 {
    fn object(&self, streamed: bool, choices: Value) -> Value {
        let (id, object) = match (self.chat, streamed) {
            (true, false) => ("chatcmpl", "chat.completion"),
            (true, true) => ("chatcmpl", "chat.completion.chunk"),
            (false, _) => ("cmpl", "text_completion"),
        };
        let id = format!("{id}-{}", hash(choices.to_string().as_bytes()) % 1_000);
        json!({"id": id, "object": object, "created": Timestamp::now().as_second(), "model": self.model,
            "system_fingerprint": "fp_ollama", "choices": choices})
    }

    fn choice(&self, text: &str, reason: Option<&str>) -> Value {
        if self.chat {
            json!([{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": reason}])
        } else {
            json!([{"index": 0, "text": text, "finish_reason": reason}])
        }
    }
}

impl Errors for V1 {
    fn content_type(&self) -> &'static str {
        self.errors.content_type()
    }

    fn failure(&self, failure: &Failure) -> String {
        self.errors.failure(failure)
    }
}

impl Form for V1 {
    fn stream_type(&self) -> &'static str {
        "text/event-stream"
    }

    fn whole(&self, generation: &Generation) -> String {
        let reason = finish_reason(generation);
        let choices = if self.chat {
            let message = json!({"role": "assistant", "content": generation.text});
            json!([{"index": 0, "message": message, "finish_reason": reason}])
        } else {
            json!([{"index": 0, "text": generation.text, "finish_reason": reason}])
        };
        let mut whole = self.object(false, choices);
        whole["usage"] = usage(generation);
        whole.to_string() + "\n"
    }

    fn piece(&self, text: &str) -> String {
        format!("data: {}\n\n", self.object(true, self.choice(text, None)))
    }

    fn last(&self, generation: &Generation) -> String {
        let mut choices = self.choice("", finish_reason(generation));
        if self.chat {
            choices[0]["delta"] = json!({});
        }
        let mut last = format!("data: {}\n\n", self.object(true, choices));
        if self.usage {
            let mut counted = self.object(true, json!([]));
            counted["usage"] = usage(generation);
            last += &format!("data: {counted}\n\n");
        }
        last + "data: [DONE]\n\n"
    }
}

fn finish_reason(generation: &Generation) -> Option<&'static str> {
    match generation.reason {
        DoneReason::Stop => Some("stop"),
        DoneReason::Length => Some("length"),
        DoneReason::Aborted => None,
    }
}

fn usage(generation: &Generation) -> Value {
    let (prompt, answer) = (generation.reported_prompt(), generation.answer_tokens);
    let mut usage =
        json!({"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer});
    if let Some(cached) = generation.reported_cached() {
        usage["prompt_tokens_details"] = json!({"cached_tokens": cached});
    }
    usage
}
