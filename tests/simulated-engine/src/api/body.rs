//! Request bodies, and what Go's decoder says of bad ones.

use std::time::Duration;

use serde_json::error::Category;
use serde_json::{Map, Value};

use crate::engine::{Failure, KeepAlive};

/// A model stays loaded for so long after a request that does not say.
const KEEP_ALIVE: Duration = Duration::from_secs(300);

/// The fields of a body, taken one by one. `kind` is the Go type that errors name.
#[derive(Debug)]
pub(super) struct Fields {
    kind: &'static str,
    map: Map<String, Value>,
}

// === impl Fields ===

impl Fields {
    /// Reads a body.
    ///
    /// # Errors
    /// 400: it is empty or no JSON object.
    pub(super) fn read(kind: &'static str, body: &[u8]) -> Result<Self, Failure> {
        if body.is_empty() {
            return Err(Failure::new(400, "missing request body"));
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(map)) => Ok(Self { kind, map }),
            Ok(other) => {
                let found = name_of(&other);
                Err(Failure::new(
                    400,
                    format!("json: cannot unmarshal {found} into Go value of type api.{kind}"),
                ))
            }
            Err(error) if error.classify() == Category::Eof => Err(Failure::new(400, "unexpected EOF")),
            Err(error) => Err(Failure::new(400, format!("invalid character: {error}"))),
        }
    }

    /// A field as it is; null is absent.
    pub(super) fn value(&mut self, key: &str) -> Option<Value> {
        self.map.remove(key).filter(|value| !value.is_null())
    }

    pub(super) fn string(&mut self, key: &str) -> Result<Option<String>, Failure> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.mismatch(key, &other, "string")),
        }
    }

    pub(super) fn bool(&mut self, key: &str) -> Result<Option<bool>, Failure> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Bool(set)) => Ok(Some(set)),
            Some(other) => Err(self.mismatch(key, &other, "bool")),
        }
    }

    pub(super) fn array(&mut self, key: &str, go_type: &str) -> Result<Vec<Value>, Failure> {
        match self.value(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(values)) => Ok(values),
            Some(other) => Err(self.mismatch(key, &other, go_type)),
        }
    }

    pub(super) fn object(&mut self, key: &str) -> Result<Map<String, Value>, Failure> {
        match self.value(key) {
            None => Ok(Map::new()),
            Some(Value::Object(map)) => Ok(map),
            Some(other) => Err(self.mismatch(key, &other, "map[string]interface {}")),
        }
    }

    /// The name in `model`.
    ///
    /// # Errors
    /// 400: there is none.
    pub(super) fn model(&mut self) -> Result<String, Failure> {
        let model = self.string("model")?.filter(|model| !model.is_empty());
        model.ok_or_else(|| Failure::new(400, "model is required"))
    }

    pub(super) fn keep_alive(&mut self) -> Result<KeepAlive, Failure> {
        match self.value("keep_alive") {
            None => Ok(Some(KEEP_ALIVE)),
            Some(Value::Number(seconds)) => Ok(duration(seconds.as_f64().unwrap_or(0.0))),
            Some(Value::String(text)) => go_duration(&text).map(duration),
            Some(other) => Err(Failure::new(400, format!("Unsupported type: '{}'", name_of(&other)))),
        }
    }

    fn mismatch(&self, key: &str, found: &Value, wanted: &str) -> Failure {
        let (found, kind) = (name_of(found), self.kind);
        let message =
            format!("json: cannot unmarshal {found} into Go struct field {kind}.{key} of type {wanted}");
        Failure::new(400, message)
    }
}

fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Seconds as a time to stay; negative is for ever.
fn duration(seconds: f64) -> KeepAlive {
    if seconds < 0.0 { None } else { Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)) }
}

/// Seconds in a Go duration such as `1h30m` or `-1s`.
fn go_duration(text: &str) -> Result<f64, Failure> {
    let invalid = || Failure::new(400, format!("time: invalid duration {text:?}"));
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0.0);
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| invalid())?;
        let after = &rest[digits..];
        let letters = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let unit = match &after[..letters] {
            "" => return Err(Failure::new(400, format!("time: missing unit in duration {text:?}"))),
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            unit => {
                return Err(Failure::new(400, format!("time: unknown unit {unit:?} in duration {text:?}")));
            }
        };
        seconds += number * unit;
        rest = &after[letters..];
    }
    if text.is_empty() { Err(invalid()) } else { Ok(sign * seconds) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keep_alive_reads_as_go_does() {
        let read = |json: &str| Fields::read("ChatRequest", json.as_bytes()).unwrap().keep_alive();
        assert_eq!(read("{}"), Ok(Some(KEEP_ALIVE)));
        assert_eq!(read(r#"{"keep_alive":-1}"#), Ok(None));
        assert_eq!(read(r#"{"keep_alive":0}"#), Ok(Some(Duration::ZERO)));
        assert_eq!(read(r#"{"keep_alive":"1h30m"}"#), Ok(Some(Duration::from_secs(5_400))));
        assert_eq!(read(r#"{"keep_alive":"-1s"}"#), Ok(None));
        assert_eq!(
            read(r#"{"keep_alive":"30"}"#).unwrap_err().message,
            "time: missing unit in duration \"30\""
        );
        assert_eq!(read(r#"{"keep_alive":"soon"}"#).unwrap_err().message, "time: invalid duration \"soon\"");
    }

    #[test]
    fn bad_bodies_are_named() {
        let error = |body: &str| Fields::read("ChatRequest", body.as_bytes()).unwrap_err();
        assert_eq!(error("").message, "missing request body");
        assert_eq!(error("{\"a\": ").message, "unexpected EOF");
        assert_eq!(error("[]").message, "json: cannot unmarshal array into Go value of type api.ChatRequest");
        assert!(error("{x}").message.starts_with("invalid character"));
    }
}
