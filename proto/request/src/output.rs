use serde_json::{Map, Value, value::RawValue};

use crate::LineError;

/// What answered a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source<'a> {
    /// Version of the engine, as it says; may be empty.
    pub engine_version: &'a str,
    /// Digest of the model; empty where the engine does not tell.
    pub model_digest: &'a str,
}

/// The output line of a request that an engine answered or refused, in the form of OpenAI's
/// batches and without its end. `body` is the engine's answer as JSON. `source` stands beside
/// what OpenAI writes, as `x_caravan`.
#[must_use]
pub fn output_line(
    id: &str,
    custom_id: &str,
    status_code: u16,
    request_id: &str,
    body: &str,
    source: Option<Source<'_>>,
) -> String {
    let source = source.map_or_else(String::new, |Source { engine_version, model_digest }| {
        let (version, digest) = (Value::from(engine_version), Value::from(model_digest));
        format!(r#","x_caravan":{{"engine_version":{version},"model_digest":{digest}}}"#)
    });
    format!(
        r#"{{"id":{},"custom_id":{},"response":{{"status_code":{status_code},"request_id":{},"body":{}}},"error":null{source}}}"#,
        Value::from(id),
        Value::from(custom_id),
        Value::from(request_id),
        on_one_line(body),
    )
}

/// The error line of a request that no engine answered, without its end. `line` is its 1-based
/// number in the input and `param` the field that is at fault, where they are known.
#[must_use]
pub fn error_line(
    id: &str,
    custom_id: Option<&str>,
    code: &str,
    message: &str,
    line: Option<u64>,
    param: Option<&str>,
) -> String {
    let mut error = Map::new();
    error.insert("code".to_owned(), code.into());
    error.insert("message".to_owned(), message.into());
    if let Some(line) = line {
        error.insert("line".to_owned(), line.into());
    }
    if let Some(param) = param {
        error.insert("param".to_owned(), param.into());
    }
    format!(
        r#"{{"id":{},"custom_id":{},"response":null,"error":{}}}"#,
        Value::from(id),
        Value::from(custom_id),
        Value::Object(error),
    )
}

// === impl LineError ===

impl LineError {
    /// The error line for it, without its end.
    #[must_use]
    pub fn to_error_line(&self, id: &str) -> String {
        let line = (self.line > 0).then_some(self.line);
        error_line(
            id,
            self.custom_id.as_deref(),
            self.code.as_str(),
            &self.message,
            line,
            self.param.as_deref(),
        )
    }
}

/// `body` as JSON that stays on its line: raw line ends can stand only between its tokens. A
/// body that is not JSON, as a proxy's error page, becomes a JSON string.
fn on_one_line(body: &str) -> String {
    match serde_json::from_str::<&RawValue>(body) {
        Ok(json) => json.get().replace(['\r', '\n'], " "),
        Err(_) => Value::from(body).to_string(),
    }
}
