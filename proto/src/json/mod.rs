//! Messages as JSON, for people and scripts: field names as in the proto, numbers as
//! numbers, enum values in lower case without their prefix, times as RFC 3339,
//! durations in seconds. Empty fields of a message are left out, its numbers are not.

mod read;

use std::sync::LazyLock;

use prost::{Message, Name};
use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, ReflectMessage as _, Value,
};
use serde_json::{Map, Value as Json};

pub use read::{NotRead, from_value};

pub(crate) static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(crate::DESCRIPTORS).unwrap_or_default());

/// `message` as JSON.
#[must_use]
pub fn to_value<M: Message + Name>(message: &M) -> Json {
    POOL.get_message_by_name(&M::full_name())
        .and_then(|descriptor| DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).ok())
        .map_or(Json::Null, |dynamic| object(&dynamic))
}

/// An enum value as JSON has it: lower case, without the enum's prefix.
#[must_use]
pub fn enum_text(value_name: &str, enum_name: &str) -> String {
    let prefix = shouting(enum_name);
    value_name.strip_prefix(&prefix).unwrap_or(value_name).trim_start_matches('_').to_lowercase()
}

fn object(message: &DynamicMessage) -> Json {
    let descriptor = message.descriptor();
    match descriptor.full_name() {
        "google.protobuf.Timestamp" => return timestamp(message),
        "google.protobuf.Duration" => return duration(message),
        "google.protobuf.FieldMask" => return mask(message),
        _ => {}
    }
    let fields = descriptor.fields().filter_map(|field| {
        let present = message.has_field(&field) || is_plain_number(&field);
        present.then(|| (field.name().to_owned(), value(&message.get_field(&field), &field.kind())))
    });
    Json::Object(fields.collect::<Map<_, _>>())
}

/// Numbers without presence are shown when zero: a count of 0 is an answer.
fn is_plain_number(field: &FieldDescriptor) -> bool {
    !field.is_list()
        && !field.is_map()
        && !field.supports_presence()
        && matches!(field.kind(), Kind::Int32 | Kind::Int64 | Kind::Double | Kind::Bool)
}

fn value(value: &Value, kind: &Kind) -> Json {
    match value {
        Value::Bool(v) => (*v).into(),
        Value::I32(v) => (*v).into(),
        Value::I64(v) => (*v).into(),
        Value::U32(v) => (*v).into(),
        Value::U64(v) => (*v).into(),
        Value::F32(v) => (*v).into(),
        Value::F64(v) => (*v).into(),
        Value::String(v) => v.as_str().into(),
        Value::Bytes(v) => v.iter().map(|b| format!("{b:02x}")).collect::<String>().into(),
        Value::EnumNumber(v) => enumeration(*v, kind),
        Value::Message(v) => object(v),
        Value::List(values) => values.iter().map(|v| self::value(v, kind)).collect(),
        Value::Map(entries) => {
            let inner = map_value_kind(kind);
            let entries = entries.iter().map(|(key, v)| (key_text(key), self::value(v, &inner)));
            Json::Object(entries.collect::<Map<_, _>>())
        }
    }
}

fn map_value_kind(kind: &Kind) -> Kind {
    kind.as_message().map_or(Kind::String, |entry| entry.map_entry_value_field().kind())
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::String(v) => v.clone(),
        MapKey::Bool(v) => v.to_string(),
        MapKey::I32(v) => v.to_string(),
        MapKey::I64(v) => v.to_string(),
        MapKey::U32(v) => v.to_string(),
        MapKey::U64(v) => v.to_string(),
    }
}

fn enumeration(number: i32, kind: &Kind) -> Json {
    let named = |e: &EnumDescriptor| e.get_value(number).map(|v| enum_text(v.name(), e.name()));
    kind.as_enum().and_then(named).map_or_else(|| number.into(), Json::String)
}

fn shouting(camel: &str) -> String {
    let mut out = String::new();
    for c in camel.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.extend(c.to_uppercase());
    }
    out
}

fn seconds_and_nanos(message: &DynamicMessage) -> (i64, i32) {
    let seconds = message.get_field_by_name("seconds").and_then(|v| v.as_i64()).unwrap_or_default();
    let nanos = message.get_field_by_name("nanos").and_then(|v| v.as_i32()).unwrap_or_default();
    (seconds, nanos)
}

fn timestamp(message: &DynamicMessage) -> Json {
    let (seconds, nanos) = seconds_and_nanos(message);
    prost_types::Timestamp { seconds, nanos }.to_string().into()
}

fn duration(message: &DynamicMessage) -> Json {
    let (seconds, nanos) = seconds_and_nanos(message);
    #[expect(clippy::cast_precision_loss, reason = "seconds of a batch are far below 2^52")]
    let seconds = seconds as f64 + f64::from(nanos) / 1e9;
    seconds.into()
}

fn mask(message: &DynamicMessage) -> Json {
    let paths = message.get_field_by_name("paths");
    let paths = paths.as_ref().and_then(|v| v.as_list()).unwrap_or_default();
    paths.iter().filter_map(Value::as_str).map(Json::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{Batch, RequestCounts, batch::State};

    #[test]
    fn a_batch_reads_as_scripts_expect() {
        let batch = Batch {
            name: "batches/batch_1".into(),
            state: State::Cancelled.into(),
            requests: Some(RequestCounts { total: 3, succeeded: 3, failed: 0 }),
            metadata: [("team".to_owned(), "search".to_owned())].into(),
            create_time: Some(prost_types::Timestamp { seconds: 0, nanos: 0 }),
            completion_window: Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 }),
            ..Default::default()
        };
        let json = to_value(&batch);
        assert_eq!(json["state"], "cancelled");
        assert_eq!(json["requests"], serde_json::json!({"total": 3, "succeeded": 3, "failed": 0}));
        assert_eq!(json["metadata"]["team"], "search");
        assert_eq!(json["create_time"], "1970-01-01T00:00:00Z");
        assert_eq!(json["completion_window"], 1.5);
        assert_eq!(json.get("plan"), None);
    }
}
