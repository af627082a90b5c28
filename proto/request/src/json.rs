use std::{borrow::Cow, cell::Cell, collections::HashSet, fmt};

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use crate::path::Quoted;

/// A JSON value whose texts are borrowed from the line where they have no escapes, and whose
/// objects are known to name no key twice.
#[derive(Debug)]
pub(crate) enum Node<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'a, str>),
    Array(Vec<Node<'a>>),
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

/// Reads a [`Node`]; stops when the line has more values than the cell has left.
#[derive(Clone, Copy)]
pub(crate) struct Seed<'b>(pub(crate) &'b Cell<usize>);

/// Reads an object's key, borrowed if it has no escapes.
pub(crate) struct Key;

/// The error text by which a line with too many values is told.
pub(crate) const TOO_MANY_VALUES: &str = "too many JSON values";

/// Objects up to this size are searched for twins key by key; larger ones by a hash set.
const FEW: usize = 16;

// === impl Node ===

impl<'a> Node<'a> {
    /// Reads all of `text`, at most as many values as `budget` has left.
    pub(crate) fn parse(text: &'a str, budget: &Cell<usize>) -> serde_json::Result<Self> {
        let mut json = serde_json::Deserializer::from_str(text);
        let node = Seed(budget).deserialize(&mut json)?;
        json.end()?;
        Ok(node)
    }

    /// The field `key` of an object, unless it is null.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(fields) => fields
                .iter()
                .find_map(|(name, value)| (name == key).then_some(value))
                .filter(|value| !matches!(value, Self::Null)),
            _ => None,
        }
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    pub(crate) fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(number) => number.as_u64(),
            _ => None,
        }
    }

    /// What kind of value it is, for an error message.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

// === impl Seed ===

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node<'de>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Node<'de>, D::Error> {
        json.deserialize_any(self)
    }
}

impl Seed<'_> {
    /// Takes one value off what the line may still have.
    pub(crate) fn spend<E: de::Error>(self) -> Result<(), E> {
        let left = self.0.get().checked_sub(1).ok_or_else(|| E::custom(TOO_MANY_VALUES))?;
        self.0.set(left);
        Ok(())
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node<'de>, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node<'de>, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node<'de>, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node<'de>, E> {
        Number::from_f64(value).map(Node::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node<'de>, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = items.next_element_seed(self)? {
            self.spend()?;
            nodes.push(node);
        }
        Ok(Node::Array(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node<'de>, A::Error> {
        let mut fields = Vec::new();
        while let Some(key) = entries.next_key_seed(Key)? {
            self.spend()?;
            fields.push((key, entries.next_value_seed(self)?));
        }
        refuse_twins(&fields)?;
        Ok(Node::Object(fields))
    }
}

/// JSON leaves open which of two equal keys counts, and readers differ: none is taken.
pub(crate) fn refuse_twins<T, E: de::Error>(fields: &[(Cow<'_, str>, T)]) -> Result<(), E> {
    let twin = if fields.len() <= FEW {
        fields.iter().enumerate().find(|(index, (key, _))| fields[..*index].iter().any(|(k, _)| k == key))
    } else {
        let mut seen = HashSet::with_capacity(fields.len());
        fields.iter().enumerate().find(|(_, (key, _))| !seen.insert(key.as_ref()))
    };
    match twin {
        Some((_, (key, _))) => Err(E::custom(format_args!("the key {} stands twice", Quoted(key)))),
        None => Ok(()),
    }
}

// === impl Key ===

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}
