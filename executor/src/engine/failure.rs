//! How failures come about, and how a refusal is written in the form of an endpoint.

use std::time::Duration;

use caravan_request::{Dialect, Endpoint};
use serde_json::{Value, json};

use super::classify::classify;
use super::{Class, Failure};

/// Characters of an engine's sentence that are kept: one that is no JSON may be a whole page.
const MAX_MESSAGE: usize = 2_000;

// === impl Failure ===

impl Failure {
    /// Code of an answer that did not come in time, from an engine that took the call.
    pub(crate) const TIMEOUT: &str = "engine_timeout";
    /// Code of a load that did not end in time.
    pub(crate) const LOAD_TIMEOUT: &str = "model_load_timeout";
    /// Code of a load for which there was not enough memory: a smaller context may fit.
    pub(crate) const LOAD_OUT_OF_MEMORY: &str = "model_load_out_of_memory";

    /// One that is not an engine's refusal.
    pub(crate) fn own(class: Class, code: &'static str, message: impl Into<String>) -> Self {
        Self { class, code, message: message.into(), status: None, body: None }
    }

    /// This kind of engine cannot honour `field`; the request was not sent.
    pub(super) fn unsupported(field: &str, why: &str) -> Self {
        Self::own(Class::Request, "unsupported_parameter", format!("{field}: {why}"))
    }

    /// This kind of engine gets no models.
    pub(crate) fn fixed_model() -> Self {
        Self::own(Class::Model, "model_fixed", "its model is fixed at its start")
    }

    /// The engine, or the way to its file, made no progress for so long.
    pub(crate) fn silent(limit: Duration) -> Self {
        let message = format!("no progress for {} s: the engine may be stuck", limit.as_secs());
        Self::own(Class::Down, Self::TIMEOUT, message)
    }

    /// `field` is not what the endpoint takes; the request was not sent.
    pub(super) fn invalid(field: &str, why: &str) -> Self {
        Self::own(Class::Request, "invalid_value", format!("{field}: {why}"))
    }

    /// The engine broke its answer off.
    pub(super) fn aborted(why: impl Into<String>) -> Self {
        Self::own(Class::Request, "engine_aborted", why)
    }

    /// A success whose body is not what it should be.
    pub(super) fn unreadable(why: &dyn std::fmt::Display) -> Self {
        let message = format!("the engine's answer cannot be read: {why}");
        Self::own(Class::Retry, "engine_answer_invalid", message)
    }

    /// The engine answered with an error. `endpoint` is the one that the client named, if any.
    /// An error inside a success (the last line of a stream) has no status of its own.
    pub(super) fn refused(status: u16, text: &str, endpoint: Option<Endpoint>) -> Self {
        let (class, code) = classify(status, text);
        let message = sentence(text);
        if status == 200 {
            return Self::own(class, code, message);
        }
        let body = endpoint.map(|endpoint| error_body(endpoint.dialect(), status, code, text, &message));
        Self { class, code, message, status: Some(status), body }
    }
}

/// The engine's body if it is in that form already, else the same sentence in it.
fn error_body(dialect: Dialect, status: u16, code: &str, text: &str, message: &str) -> Value {
    let said = serde_json::from_str::<Value>(text).unwrap_or_default();
    match dialect {
        Dialect::OpenAi if said["error"]["message"].is_string() => said,
        Dialect::Ollama if said["error"].is_string() => said,
        Dialect::Ollama => json!({ "error": message }),
        Dialect::OpenAi => {
            let kind = match status {
                404 => "not_found_error",
                400..=499 => "invalid_request_error",
                _ => "api_error",
            };
            json!({ "error": { "message": message, "type": kind, "param": null, "code": code } })
        }
    }
}

/// The sentence for a person in an error body of any shape seen: `{"error": "…"}`, the same with
/// another server's body as the string, `{"error": {"message": "…"}}`, `{"message": "…"}`,
/// `{"detail": "…"}`, plain text.
fn sentence(text: &str) -> String {
    let Ok(Value::Object(body)) = serde_json::from_str::<Value>(text) else {
        return text.trim().chars().take(MAX_MESSAGE).collect();
    };
    let inner = body.get("error").or_else(|| body.get("message")).or_else(|| body.get("detail"));
    match inner {
        Some(Value::String(inner)) => sentence(inner),
        Some(inner @ Value::Object(_)) => sentence(&inner.to_string()),
        Some(inner) => inner.to_string(),
        None => text.trim().chars().take(MAX_MESSAGE).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_sentence_in_every_shape() {
        for text in [
            r#"{"error":"no"}"#,
            r#"{"error":"{\"error\":{\"code\":400,\"message\":\"no\"}}"}"#,
            r#"{"error":{"message":"no","type":"t","param":null,"code":null}}"#,
            r#"{"object":"error","message":"no","code":400}"#,
            r#"{"detail":"no"}"#,
            "no\n",
        ] {
            assert_eq!(sentence(text), "no", "{text}");
        }
    }

    #[test]
    fn writes_a_refusal_in_the_form_of_the_endpoint() {
        let native = r#"{"error":"model 'x' not found"}"#;
        let failure = Failure::refused(404, native, Some(Endpoint::ChatCompletions));
        let body = failure.body.unwrap();
        assert_eq!(body["error"]["message"], "model 'x' not found");
        assert_eq!(body["error"]["type"], "not_found_error");
        assert_eq!(body["error"]["code"], "model_not_found");
        let kept = Failure::refused(404, native, Some(Endpoint::OllamaChat));
        assert_eq!(kept.body, Some(json!({ "error": "model 'x' not found" })));

        let openai = r#"{"error":{"message":"no","type":"t","param":null,"code":7}}"#;
        let failure = Failure::refused(400, openai, Some(Endpoint::OllamaGenerate));
        assert_eq!(failure.body, Some(json!({ "error": "no" })));
        let kept = Failure::refused(400, openai, Some(Endpoint::Embeddings));
        assert_eq!(kept.body.unwrap()["error"]["code"], 7);
    }

    #[test]
    fn an_error_inside_a_success_is_no_refusal_with_status_200() {
        let failure = Failure::refused(
            200,
            r#"{"error":"an error was encountered while running the model: unexpected EOF"}"#,
            Some(Endpoint::OllamaChat),
        );
        assert_eq!((failure.class, failure.status, failure.body), (Class::Suspect, None, None));
    }
}
