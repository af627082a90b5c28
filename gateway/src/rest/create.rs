//! What `POST /v1/batches` says, as the contract has it.

use std::collections::HashMap;

use axum::http::HeaderMap;
use caravan_proto::{
    json::{self, NotRead},
    v1::Batch,
};
use serde_json::{Map, Value};

use super::error::Error;

/// What clients set of a batch beside OpenAI's fields: as in the contract, with times in seconds and names of
/// enums in lower case; `defaults` is an object.
const OWN: [&str; 9] = [
    "strategy",
    "on_invalid",
    "priority",
    "model",
    "chunk_limits",
    "stated_tokens",
    "defaults",
    "retention",
    "webhook",
];
/// The header that makes a repeated request the same one.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The batch that a body asks for.
pub(super) fn batch(mut body: Map<String, Value>) -> Result<Batch, Error> {
    let own = own(body.remove("x_caravan"))?;
    let input_file = text(&mut body, "input_file_id")?.ok_or_else(|| Error::missing("input_file_id"))?;
    let endpoint = text(&mut body, "endpoint")?.unwrap_or_default();
    let completion_window = text(&mut body, "completion_window")?.map(|text| window(&text)).transpose()?;
    let metadata = metadata(body.remove("metadata"))?;
    if body.remove("output_expires_after").is_some_and(|value| !value.is_null()) {
        let message = "outputs do not expire by themselves: x_caravan.retention says how long the ended batch is kept, \
                       with its files";
        return Err(Error::of("unsupported_parameter", "output_expires_after", message));
    }
    if let Some(name) = body.keys().next() {
        return Err(Error::unknown(name));
    }
    Ok(Batch { input_file, endpoint, completion_window, metadata, ..own })
}

/// The idempotency key; empty if there is none.
pub(super) fn request_id(headers: &HeaderMap) -> Result<String, Error> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let key = match (keys.next(), keys.next()) {
        (None, _) => return Ok(String::new()),
        (Some(key), None) => key.to_str().ok(),
        (Some(_), Some(_)) => None,
    };
    let good = key.filter(|key| (1..=128).contains(&key.len()));
    let wrong = || {
        Error::invalid("Idempotency-Key", "Idempotency-Key must be one value of 1 to 128 ASCII characters")
    };
    good.map(str::to_owned).ok_or_else(wrong)
}

/// What `x_caravan` sets.
fn own(given: Option<Value>) -> Result<Batch, Error> {
    let mut fields = match given {
        None | Some(Value::Null) => return Ok(Batch::default()),
        Some(Value::Object(fields)) => fields,
        Some(_) => return Err(wrong_type("x_caravan", "an object")),
    };
    if let Some(name) = fields.keys().find(|name| !OWN.contains(&name.as_str())) {
        return Err(Error::unknown(&format!("x_caravan.{name}")));
    }
    match fields.get_mut("defaults") {
        None | Some(Value::Null) => {}
        Some(defaults @ Value::Object(_)) => *defaults = defaults.to_string().into(),
        Some(_) => return Err(wrong_type("x_caravan.defaults", "an object")),
    }
    json::from_value(&Value::Object(fields)).map_err(|error| match error {
        NotRead::Unknown(field) => Error::unknown(&format!("x_caravan.{field}")),
        NotRead::Wrong { field, wanted } => wrong_type(&format!("x_caravan.{field}"), &wanted),
    })
}

fn text(body: &mut Map<String, Value>, name: &str) -> Result<Option<String>, Error> {
    match body.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(wrong_type(name, "a string")),
    }
}

fn metadata(given: Option<Value>) -> Result<HashMap<String, String>, Error> {
    let one = |(key, value)| match value {
        Value::String(text) => Ok((key, text)),
        _ => Err(wrong_type("metadata", "an object whose values are strings")),
    };
    match given {
        None | Some(Value::Null) => Ok(HashMap::new()),
        Some(Value::Object(labels)) => labels.into_iter().map(one).collect(),
        Some(_) => Err(wrong_type("metadata", "an object whose values are strings")),
    }
}

/// OpenAI knows `24h`; any number of days, hours, minutes or seconds will do. The planner bounds it.
fn window(text: &str) -> Result<prost_types::Duration, Error> {
    let unit = |unit| match unit {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(3600),
        'd' => Some(86_400),
        _ => None,
    };
    let seconds = text.char_indices().next_back().and_then(|(at, last)| {
        let number = text.get(..at).filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()))?;
        number.parse::<i64>().ok()?.checked_mul(unit(last)?)
    });
    let wrong = || {
        let message = "completion_window must be a whole number of d, h, m or s, e.g. 24h; or null for none";
        Error::invalid("completion_window", message)
    };
    Ok(prost_types::Duration { seconds: seconds.ok_or_else(wrong)?, nanos: 0 })
}

fn wrong_type(param: &str, wanted: &str) -> Error {
    Error::of("invalid_type", param, format!("{param} must be {wanted}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn windows_are_numbers_of_one_unit() {
        let seconds = |text| window(text).map(|window| window.seconds).ok();
        assert_eq!(["24h", "90s", "7d", "5m"].map(seconds), [86_400, 90, 604_800, 300].map(Some));
        for bad in ["", "h", "24", "+24h", "-1h", "24 h", "٢٤h", "9223372036854775807d", "24hours", "1.5h"]
        {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn extensions_are_the_contracts_fields() {
        let body = json!({
            "input_file_id": "file_1", "endpoint": "/v1/embeddings", "completion_window": "24h",
            "x_caravan": {
                "priority": 7, "strategy": "conversation", "on_invalid": "reject_line", "retention": 90,
                "webhook": "https://hooks.example/", "defaults": { "model": "m" },
            },
        });
        let Value::Object(body) = body else { unreachable!("an object") };
        let batch = batch(body).expect("a batch");
        assert_eq!((batch.priority, batch.strategy, batch.on_invalid), (7, 2, 2));
        assert_eq!(
            (batch.defaults.as_str(), batch.retention.map(|r| r.seconds)),
            (r#"{"model":"m"}"#, Some(90))
        );
    }
}
