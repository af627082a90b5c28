//! Structured output: what a request asked for, and whether an answer is that.

use std::sync::Arc;

use jsonschema::{Retrieve, Uri, Validator};
use serde_json::{Map, Value};

use crate::engine::Response;

/// The form that a request wants its answer in.
#[derive(Debug)]
pub(crate) enum Form {
    /// Any text.
    Text,
    /// Any JSON value (native `format: "json"`).
    Json,
    /// A JSON object (`json_object`).
    Object,
    /// A JSON value that keeps to a schema.
    Schema(Box<Validator>),
}

/// Forms of one request after the other: the requests of a chunk mostly share one
/// schema, which is then made ready once. Keeps the last.
#[derive(Debug, Default)]
pub(crate) struct Forms {
    last: Option<(Value, Arc<Form>)>,
}

/// Schemas stand alone: nothing is fetched from a network or a file.
struct Nothing;

impl Retrieve for Nothing {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        Err(format!("`{uri}` is outside of the schema").into())
    }
}

// === impl Forms ===

impl Forms {
    /// The form that `body` asks for, in OpenAI's or in Ollama's fields. Fails with the
    /// reason if the schema cannot be used.
    pub(crate) fn of(&mut self, body: &Map<String, Value>) -> Result<Arc<Form>, String> {
        let asked = body.get("response_format").or_else(|| body.get("format")).unwrap_or(&Value::Null);
        if let Some((last, form)) = &self.last
            && last == asked
        {
            return Ok(Arc::clone(form));
        }
        let form = Arc::new(Form::of(body)?);
        self.last = Some((asked.clone(), Arc::clone(&form)));
        Ok(form)
    }
}

// === impl Form ===

impl Form {
    fn of(body: &Map<String, Value>) -> Result<Self, String> {
        if let Some(format) = body.get("response_format") {
            return match format["type"].as_str() {
                Some("json_object") => Ok(Self::Object),
                Some("json_schema") => Self::schema(&format["json_schema"]["schema"]),
                _ => Ok(Self::Text),
            };
        }
        match body.get("format") {
            Some(Value::String(format)) if format == "json" => Ok(Self::Json),
            Some(schema @ Value::Object(_)) => Self::schema(schema),
            _ => Ok(Self::Text),
        }
    }

    fn schema(schema: &Value) -> Result<Self, String> {
        if schema.is_null() {
            return Ok(Self::Json);
        }
        jsonschema::options()
            .with_retriever(Nothing)
            .build(schema)
            .map(|validator| Self::Schema(Box::new(validator)))
            .map_err(|error| format!("the schema cannot be used: {}", error.masked()))
    }

    /// Whether `answer` is what was asked for; the reason if not. The reason never
    /// contains the answer. A tool call is an answer of its own form.
    pub(crate) fn check(&self, answer: &Response) -> Result<(), String> {
        if matches!(self, Self::Text) || (answer.text.is_empty() && calls_tools(&answer.body)) {
            return Ok(());
        }
        if answer.length_limited {
            return Err("the answer met its token limit or the context's end before it was complete".into());
        }
        let value: Value =
            serde_json::from_str(&answer.text).map_err(|error| format!("the answer is not JSON: {error}"))?;
        match self {
            Self::Object if !value.is_object() => Err("the answer is not a JSON object".into()),
            Self::Schema(validator) => validator.validate(&value).map_err(|error| {
                format!("the answer breaks the schema at `{}`: {}", error.instance_path(), error.masked())
            }),
            _ => Ok(()),
        }
    }
}

fn calls_tools(body: &Value) -> bool {
    let messages = [&body["choices"][0]["message"], &body["message"]];
    messages.iter().any(|message| message["tool_calls"].as_array().is_some_and(|calls| !calls.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn form(body: Value) -> Result<Arc<Form>, String> {
        Forms::default().of(body.as_object().unwrap())
    }

    fn answer(text: &str) -> Response {
        Response {
            status: 200,
            body: json!({}),
            text: text.into(),
            prompt_tokens: None,
            cached_tokens: None,
            completion_tokens: None,
            length_limited: false,
            timings: Default::default(),
        }
    }

    fn label() -> Value {
        json!({"type": "object", "properties": {"label": {"enum": ["a", "b"]}}, "required": ["label"]})
    }

    #[test]
    fn a_schema_is_checked_in_both_dialects() {
        for body in [
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": label()}}}),
            json!({"format": label()}),
        ] {
            let form = form(body).unwrap();
            assert_eq!(form.check(&answer(r#"{"label":"a"}"#)), Ok(()));
            let broken = form.check(&answer(r#"{"label":"secret"}"#)).unwrap_err();
            assert!(broken.contains("/label") && !broken.contains("secret"), "{broken}");
            assert!(form.check(&answer("{\"label\":")).is_err());
        }
    }

    #[test]
    fn json_object_wants_an_object_and_json_any_value() {
        let object = form(json!({"response_format": {"type": "json_object"}})).unwrap();
        assert!(object.check(&answer("[1]")).is_err());
        assert_eq!(object.check(&answer("{}")), Ok(()));
        let json = form(json!({"format": "json"})).unwrap();
        assert_eq!(json.check(&answer("[1]")), Ok(()));
        assert!(json.check(&answer("no")).is_err());
    }

    #[test]
    fn an_answer_cut_short_is_invalid_even_if_it_parses() {
        let form = form(json!({"format": label()})).unwrap();
        let cut = Response { length_limited: true, ..answer(r#"{"label":"a"}"#) };
        assert!(form.check(&cut).unwrap_err().contains("limit"));
    }

    #[test]
    fn a_tool_call_needs_no_text() {
        let form = form(json!({"response_format": {"type": "json_object"}})).unwrap();
        let call = json!({"choices": [{"message": {"tool_calls": [{"function": {"name": "f"}}]}}]});
        assert_eq!(form.check(&Response { body: call, ..answer("") }), Ok(()));
        assert!(form.check(&answer("")).is_err());
    }

    #[test]
    fn nothing_is_fetched_from_outside() {
        for outside in ["http://127.0.0.1:9/x.json", "file:///etc/passwd"] {
            let error = form(json!({"format": {"$ref": outside}})).unwrap_err();
            assert!(error.contains("cannot be used"), "{error}");
        }
    }

    #[test]
    fn plain_requests_take_any_text() {
        assert_eq!(form(json!({})).unwrap().check(&answer("anything")), Ok(()));
        assert_eq!(form(json!({"format": ""})).unwrap().check(&answer("x")), Ok(()));
    }
}
