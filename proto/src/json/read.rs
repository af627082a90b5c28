//! Messages out of the JSON that [`super::to_value`] makes of them.

use std::time::Duration;

use prost::{Message, Name};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};
use prost_types::Timestamp;
use serde_json::Value as Json;

use super::{POOL, enum_text};

/// Why JSON is not the message that it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRead {
    /// A field that the message does not have.
    #[error("{0} is not a field that is known")]
    Unknown(String),
    /// A value of another type than its field, or out of its range.
    #[error("{field} must be {wanted}")]
    Wrong {
        /// Path of the field.
        field: String,
        /// What belongs there.
        wanted: String,
    },
}

/// The message that `json` is of. A field that is left out or null has its default; one that the
/// message does not have is an error, because a typing error must not pass for a default.
///
/// # Errors
/// With the path of the first field that is not known or wrong.
pub fn from_value<M: Message + Name + Default>(json: &Json) -> Result<M, NotRead> {
    let whole = || wrong("", "a message");
    let descriptor = POOL.get_message_by_name(&M::full_name()).ok_or_else(whole)?;
    message(json, &descriptor, "")?.transcode_to().map_err(|_| whole())
}

fn message(json: &Json, descriptor: &MessageDescriptor, path: &str) -> Result<DynamicMessage, NotRead> {
    let mut message = DynamicMessage::new(descriptor.clone());
    let known = match descriptor.full_name() {
        "google.protobuf.Timestamp" => {
            let at = json.as_str().and_then(|text| text.parse::<Timestamp>().ok());
            message.transcode_from(&at.ok_or_else(|| wrong(path, "a time as in RFC 3339"))?)
        }
        "google.protobuf.Duration" => {
            let span = json.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            let span = span.and_then(|span| prost_types::Duration::try_from(span).ok());
            message.transcode_from(&span.ok_or_else(|| wrong(path, "seconds"))?)
        }
        "google.protobuf.FieldMask" => {
            let paths = json.as_array().and_then(|paths| paths.iter().map(text).collect());
            let paths = paths.ok_or_else(|| wrong(path, "a list of paths"))?;
            message.transcode_from(&prost_types::FieldMask { paths })
        }
        _ => Ok(()),
    };
    if known.is_err() {
        return Err(wrong(path, "a message"));
    }
    if is_well_known(descriptor) {
        return Ok(message);
    }
    let fields = json.as_object().ok_or_else(|| wrong(path, "an object"))?;
    for (name, json) in fields.iter().filter(|(_, json)| !json.is_null()) {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let field = descriptor.get_field_by_name(name);
        let field = field.ok_or_else(|| NotRead::Unknown(path.clone()))?;
        message.set_field(&field, self::field(json, &field, &path)?);
    }
    Ok(message)
}

fn is_well_known(descriptor: &MessageDescriptor) -> bool {
    descriptor.package_name() == "google.protobuf"
}

fn field(json: &Json, field: &FieldDescriptor, path: &str) -> Result<Value, NotRead> {
    if let Some(entry) = field.kind().as_message().filter(|_| field.is_map()) {
        let entries = json.as_object().ok_or_else(|| wrong(path, "an object"))?;
        let (keys, values) = (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
        let each = entries.iter().map(|(name, json)| {
            let path = format!("{path}.{name}");
            let key = key(name, &keys).ok_or_else(|| wrong(&path, "named by a key of its type"))?;
            Ok((key, single(json, &values, &path)?))
        });
        return Ok(Value::Map(each.collect::<Result<_, _>>()?));
    }
    if field.is_list() {
        let items = json.as_array().ok_or_else(|| wrong(path, "a list"))?;
        let each = items.iter().enumerate();
        let each = each.map(|(index, json)| single(json, &field.kind(), &format!("{path}[{index}]")));
        return Ok(Value::List(each.collect::<Result<_, _>>()?));
    }
    single(json, &field.kind(), path)
}

fn single(json: &Json, kind: &Kind, path: &str) -> Result<Value, NotRead> {
    let (value, wanted) = match kind {
        Kind::Message(descriptor) => return Ok(Value::Message(message(json, descriptor, path)?)),
        Kind::Enum(descriptor) => {
            let named = |text: &String| {
                descriptor.values().find(|value| enum_text(value.name(), descriptor.name()) == *text)
            };
            let number = match json {
                Json::String(text) => named(text).map(|value| value.number()),
                json => json.as_i64().and_then(|number| number.try_into().ok()),
            };
            let names: Vec<_> = descriptor.values().map(|v| enum_text(v.name(), descriptor.name())).collect();
            return number
                .map(Value::EnumNumber)
                .ok_or_else(|| wrong(path, &format!("one of {}", names.join(", "))));
        }
        Kind::Bool => (json.as_bool().map(Value::Bool), "true or false"),
        Kind::String => (text(json).map(Value::String), "a text"),
        Kind::Bytes => (json.as_str().and_then(bytes), "bytes in hexadecimal"),
        Kind::Double => (json.as_f64().map(Value::F64), "a number"),
        #[expect(clippy::cast_possible_truncation, reason = "the field holds no more")]
        Kind::Float => (json.as_f64().map(|number| Value::F32(number as f32)), "a number"),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => (
            json.as_i64().and_then(|number| number.try_into().ok()).map(Value::I32),
            "a whole number of 32 bits",
        ),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => (json.as_i64().map(Value::I64), "a whole number"),
        Kind::Uint32 | Kind::Fixed32 => (
            json.as_u64().and_then(|number| number.try_into().ok()).map(Value::U32),
            "a whole number of 32 bits, 0 or more",
        ),
        Kind::Uint64 | Kind::Fixed64 => (json.as_u64().map(Value::U64), "a whole number, 0 or more"),
    };
    value.ok_or_else(|| wrong(path, wanted))
}

fn key(name: &str, kind: &Kind) -> Option<MapKey> {
    match kind {
        Kind::String => Some(MapKey::String(name.to_owned())),
        Kind::Bool => name.parse().ok().map(MapKey::Bool),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => name.parse().ok().map(MapKey::I32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => name.parse().ok().map(MapKey::I64),
        Kind::Uint32 | Kind::Fixed32 => name.parse().ok().map(MapKey::U32),
        Kind::Uint64 | Kind::Fixed64 => name.parse().ok().map(MapKey::U64),
        Kind::Double | Kind::Float | Kind::Bytes | Kind::Message(_) | Kind::Enum(_) => None,
    }
}

fn text(json: &Json) -> Option<String> {
    json.as_str().map(str::to_owned)
}

fn bytes(hex: &str) -> Option<Value> {
    let pairs = hex.as_bytes().chunks(2).map(|pair| {
        let pair = str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    });
    pairs.collect::<Option<Vec<_>>>().map(|bytes| Value::Bytes(bytes.into()))
}

fn wrong(path: &str, wanted: &str) -> NotRead {
    let field = if path.is_empty() { "the whole" } else { path };
    NotRead::Wrong { field: field.to_owned(), wanted: wanted.to_owned() }
}

#[cfg(test)]
mod tests {
    use prost_types::FieldMask;
    use serde_json::json;

    use super::*;
    use crate::{
        json::to_value,
        v1::{Batch, BatchDelta, Gpu, LineError, Profile, TemplateTokens, Vocabulary, batch::State, engine},
    };

    #[test]
    fn what_is_written_is_read() {
        let batch = Batch {
            name: "batches/batch_1".into(),
            state: State::Cancelled.into(),
            metadata: [("team".to_owned(), "search".to_owned())].into(),
            line_errors: vec![LineError { line: 3, code: "empty_file".into(), ..Default::default() }],
            create_time: Some(Timestamp { seconds: 1, nanos: 500_000 }),
            completion_window: Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 }),
            ..Default::default()
        };
        assert_eq!(from_value(&to_value(&batch)), Ok(batch.clone()));
        let update_mask = Some(FieldMask { paths: vec!["state".into()] });
        let delta = BatchDelta { batch: Some(batch), update_mask };
        assert_eq!(from_value(&to_value(&delta)), Ok(delta));
        let gpu = Gpu { vram_used_bytes: Some(0), power_watts: Some(30.5), ..Default::default() };
        assert_eq!(from_value(&to_value(&gpu)), Ok(gpu));
        let vocabulary = Vocabulary { definition: vec![0, 255, 16], ..Default::default() };
        assert_eq!(from_value(&to_value(&vocabulary)), Ok(vocabulary));
        let profile = Profile {
            engine_kind: engine::Kind::Ollama.into(),
            prefill_tokens_per_second: 900.0,
            template: Some(TemplateTokens { conversation: 5, system: 3, exchange: 8 }),
            ..Default::default()
        };
        assert_eq!(from_value(&to_value(&profile)), Ok(profile));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (json, told) in [
            (json!([]), "the whole must be an object"),
            (json!({"slot": 4}), "slot is not a field that is known"),
            (json!({"slots": 4.5}), "slots must be a whole number of 32 bits"),
            (json!({"model": 1}), "model must be a text"),
            (json!({"engine_kind": "vllm"}), "engine_kind must be one of unspecified, ollama, openai"),
            (json!({"template": {"system": "3"}}), "template.system must be a whole number"),
            (json!({"measure_time": "now"}), "measure_time must be a time as in RFC 3339"),
        ] {
            assert_eq!(from_value::<Profile>(&json).unwrap_err().to_string(), told);
        }
        assert_eq!(from_value(&json!({"slots": null})), Ok(Profile::default()));
    }
}
