use std::{borrow::Cow, cell::Cell, fmt};

use serde::{
    Deserialize,
    de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    Code, Endpoint, Line, LineError, LinePolicy,
    json::{Key, Node, refuse_twins},
    line::validate,
};

/// What every line of a batch is laid over, so that lines need only say what differs.
///
/// A field of a line's `body` stands in place of the default of that name, also as null; a
/// field without default follows behind. Two fields are joined instead: the line's `messages`
/// stand behind the default ones, and the fields of the line's `options` are laid over those
/// of the default ones. A line may leave out `method`, and `url` if the batch names an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    body: Layer,
    url: Option<Endpoint>,
}

/// Why a text cannot be defaults.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefaultsError {
    /// More bytes than [`Defaults::MAX_BYTES`].
    #[error("defaults must have at most {} bytes", Defaults::MAX_BYTES)]
    TooLong,
    /// No JSON, or none that every reader reads alike.
    #[error("defaults cannot be read: {0}")]
    NotJson(String),
    /// JSON, but no object.
    #[error("defaults must be a JSON object: the fields of a body")]
    NotAnObject,
    /// More fields in one object than [`Defaults::MAX_FIELDS`].
    #[error("defaults must have at most {} fields", Defaults::MAX_FIELDS)]
    TooManyFields,
    /// `messages` that lines could not follow.
    #[error("messages of defaults must be an array: those that stand before each line's own")]
    Messages,
}

/// An object's fields, ready to be written with another object's laid over them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Layer(Vec<Preset>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Preset {
    key: String,
    /// The key as JSON, with its colon.
    written: String,
    value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    /// A value that a line's replaces.
    Whole(String),
    /// The items of an array, without its brackets, that a line's follow.
    Items(String),
    /// An object over which a line's is laid.
    Object(Layer),
}

/// What of a line decides how it is laid over defaults.
#[derive(Deserialize)]
struct Outline<'a> {
    #[serde(borrow, default)]
    body: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "present")]
    method: bool,
    #[serde(default, deserialize_with = "present")]
    url: bool,
}

/// An object's fields, at most so many.
struct FieldsSeed(usize);

type Fields<'a> = Vec<(Cow<'a, str>, &'a RawValue)>;

/// Fields of a body, or of its `options`, that are laid over defaults at most. No endpoint has
/// a tenth of them; a body with more is left as it is, for validation to refuse it.
const MAX_OWN_FIELDS: usize = 1_024;

// === impl Defaults ===

impl Defaults {
    /// Bytes of the text at most.
    pub const MAX_BYTES: usize = 8 << 20;
    /// Fields of it, or of its `options`, at most: some times as many as any endpoint has.
    pub const MAX_FIELDS: usize = 128;

    /// Reads `text`, a JSON object with fields of a body; lines that name no URL go to `url`.
    ///
    /// # Errors
    /// If it is no such object, or a part of it is nothing that a line can be laid over.
    pub fn parse(text: &str, url: Option<Endpoint>) -> Result<Self, DefaultsError> {
        if text.len() > Self::MAX_BYTES {
            return Err(DefaultsError::TooLong);
        }
        // As strict as validation is, so that what is wrong here is not told of every line.
        let budget = Cell::new(LinePolicy::default().max_values);
        let node = Node::parse(text, &budget).map_err(|error| DefaultsError::NotJson(error.to_string()))?;
        match &node {
            Node::Object(_) if !matches!(node.get("messages"), None | Some(Node::Array(_))) => {
                Err(DefaultsError::Messages)
            }
            Node::Object(_) => Ok(Self { body: Layer::parse(text, Preset::of_body)?, url }),
            _ => Err(DefaultsError::NotAnObject),
        }
    }

    /// The whole of `line`, written into `out` over what stood there; `line` itself if it is
    /// not a JSON object, for validation to say so. All but the body stays where it is, byte
    /// by byte; what the line leaves out beside the body follows at its end.
    ///
    /// Takes memory for the whole line in `out`, and some 40 bytes a field of the body.
    pub fn expand<'l>(&self, line: &'l [u8], out: &'l mut String) -> &'l [u8] {
        self.write(line, out, |body, out| self.body.lay(body, out)).map_or(line, str::as_bytes)
    }

    /// [`validate`] for the whole of `bytes`, which [`expand`](Self::expand) writes into `out`;
    /// the line's limit holds for both. Where the JSON cannot be read, the place named is
    /// that in `bytes`.
    ///
    /// # Errors
    /// What is wrong with the line: up to `max_errors` things.
    pub fn validate<'a>(
        &self,
        number: u64,
        bytes: &'a [u8],
        policy: &LinePolicy<'a>,
        out: &'a mut String,
    ) -> Result<Line<'a>, Vec<LineError>> {
        let limit = policy.max_line_bytes;
        if bytes.len() > limit {
            return Err(vec![LineError::line_too_long(number, limit)]);
        }
        let whole = self.expand(bytes, out);
        if whole.len() > limit {
            return Err(vec![LineError::line_too_long_with_defaults(number, limit)]);
        }
        validate(number, whole, policy).map_err(|errors| {
            if errors.iter().all(|error| error.code != Code::InvalidJsonLine) {
                return errors;
            }
            let mut bare = String::new();
            let bare = self.write(bytes, &mut bare, |_, _| None).map_or(bytes, str::as_bytes);
            validate(number, bare, policy).err().unwrap_or(errors)
        })
    }

    /// Writes `line` with what it leaves out and its body as `lay` does it, or as it stands if
    /// `lay` does nothing. None if the line is no object.
    fn write<'o>(
        &self,
        line: &[u8],
        out: &'o mut String,
        lay: impl Fn(&str, &mut String) -> Option<()>,
    ) -> Option<&'o str> {
        let text = str::from_utf8(line).ok()?;
        let outline: Outline<'_> = serde_json::from_str(text).ok()?;
        // A derived reader takes an array for an object, too.
        let open = text.trim_end().strip_suffix('}')?;
        out.clear();
        let mut rest = open;
        if let Some(body) = outline.body.map(RawValue::get) {
            let start = (body.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
            out.push_str(open.get(..start)?);
            let before = out.len();
            if lay(body, out).is_none() {
                out.truncate(before);
                out.push_str(body);
            }
            rest = open.get(start + body.len()..)?;
        }
        out.push_str(rest);
        let mut add = |key: &str, value: &str| {
            let comma = if out.trim_end().ends_with('{') { "" } else { "," };
            out.extend([comma, "\"", key, "\":\"", value, "\""]);
        };
        if !outline.method {
            add("method", "POST");
        }
        if let Some(url) = self.url.filter(|_| !outline.url) {
            add("url", url.as_str());
        }
        out.push('}');
        Some(out)
    }
}

fn present<'de, D: Deserializer<'de>>(json: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(json).map(|_| true)
}

// === impl Layer ===

impl Layer {
    fn parse(
        text: &str,
        preset: fn(&str, &str) -> Result<Preset, DefaultsError>,
    ) -> Result<Self, DefaultsError> {
        let fields = fields(text, Defaults::MAX_FIELDS).ok_or(DefaultsError::TooManyFields)?;
        fields.iter().map(|(key, value)| preset(key, value.get())).collect::<Result<_, _>>().map(Self)
    }

    /// Writes the object with `own` laid over it; none if `own` is no object that can be.
    fn lay(&self, own: &str, out: &mut String) -> Option<()> {
        let own = fields(own, MAX_OWN_FIELDS)?;
        let mut next = '{';
        let mut open = |out: &mut String| out.push(std::mem::replace(&mut next, ','));
        for preset in &self.0 {
            open(out);
            out.push_str(&preset.written);
            match own.iter().find(|(key, _)| *key == preset.key) {
                Some((_, value)) => preset.value.write_under(value.get(), out),
                None => preset.value.write(out),
            }
        }
        for (key, value) in own.iter().filter(|(key, _)| self.0.iter().all(|preset| preset.key != *key)) {
            open(out);
            out.extend([&written(key), value.get()]);
        }
        if next == '{' {
            out.push('{');
        }
        out.push('}');
        Some(())
    }

    fn write(&self, out: &mut String) {
        for (index, preset) in self.0.iter().enumerate() {
            out.push(if index == 0 { '{' } else { ',' });
            out.push_str(&preset.written);
            preset.value.write(out);
        }
        out.push_str(if self.0.is_empty() { "{}" } else { "}" });
    }
}

/// The fields of the object `text`; none if it is something else, names a key twice, or has
/// more than `most`.
fn fields(text: &str, most: usize) -> Option<Fields<'_>> {
    let mut json = serde_json::Deserializer::from_str(text);
    FieldsSeed(most).deserialize(&mut json).ok()
}

/// A key as JSON, with its colon.
fn written(key: &str) -> String {
    // A Value writes itself as JSON without a way to fail.
    format!("{}:", serde_json::Value::from(key))
}

// === impl Preset ===

impl Preset {
    fn of_body(key: &str, value: &str) -> Result<Self, DefaultsError> {
        let items = value.strip_prefix('[').and_then(|value| value.strip_suffix(']'));
        let value = match (key, items) {
            ("messages", Some(items)) => Value::Items(items.trim().to_owned()),
            ("options", None) if value.starts_with('{') => {
                Value::Object(Layer::parse(value, Self::of_options)?)
            }
            _ => Value::Whole(value.to_owned()),
        };
        Ok(Self { key: key.to_owned(), written: written(key), value })
    }

    fn of_options(key: &str, value: &str) -> Result<Self, DefaultsError> {
        Ok(Self { key: key.to_owned(), written: written(key), value: Value::Whole(value.to_owned()) })
    }
}

// === impl Value ===

impl Value {
    fn write(&self, out: &mut String) {
        match self {
            Self::Whole(value) => out.push_str(value),
            Self::Items(items) => out.extend(["[", items, "]"]),
            Self::Object(layer) => layer.write(out),
        }
    }

    /// Writes `own`, with this under it where both are of a kind.
    fn write_under(&self, own: &str, out: &mut String) {
        let before = out.len();
        match self {
            Self::Items(items) => {
                if let Some(more) = own.strip_prefix('[').and_then(|own| own.strip_suffix(']')) {
                    let more = more.trim();
                    let comma = if items.is_empty() || more.is_empty() { "" } else { "," };
                    return out.extend(["[", items, comma, more, "]"]);
                }
            }
            Self::Object(layer) if layer.lay(own, out).is_some() => return,
            Self::Object(_) | Self::Whole(_) => {}
        }
        out.truncate(before);
        out.push_str(own);
    }
}

// === impl FieldsSeed ===

impl<'de> DeserializeSeed<'de> for FieldsSeed {
    type Value = Fields<'de>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FieldsSeed {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(key) = entries.next_key_seed(Key)? {
            if fields.len() == self.0 {
                return Err(de::Error::custom("too many fields"));
            }
            fields.push((key, entries.next_value()?));
        }
        refuse_twins(&fields)?;
        Ok(fields)
    }
}
