use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use serde_json::Value;

use crate::column::Column;
use crate::{Error, gguf};

/// Elements of an array that is kept: one a layer, of which the deepest models have some 130.
const MAX_SHORT: usize = 1_024;

/// What a model says of itself: GGUF's metadata without its long arrays and those of texts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Metadata {
    scalars: BTreeMap<String, Scalar>,
    /// Arrays of whole numbers and of truth values (1 is true), mostly one a layer.
    lists: BTreeMap<String, Vec<u64>>,
}

/// A single value. Integers are whole numbers of at most 64 bits, of either sign.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar {
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
}

/// Metadata with the arrays that a vocabulary is made of.
#[derive(Debug, Default)]
pub(crate) struct Described {
    pub(crate) metadata: Metadata,
    pub(crate) texts: BTreeMap<String, Column>,
    pub(crate) numbers: BTreeMap<String, Vec<f64>>,
}

// === impl Metadata ===

impl Metadata {
    /// Read from a GGUF file; its tensors are not looked at.
    ///
    /// # Errors
    /// The file cannot be read, or is no GGUF file of version 2 or 3.
    pub fn from_gguf(path: &Path) -> Result<Self, Error> {
        Self::read(BufReader::new(File::open(path)?))
    }

    /// Read from a GGUF's first bytes. Makes many small reads: give it a buffered reader.
    ///
    /// # Errors
    /// As [`Metadata::from_gguf`].
    pub fn read(reader: impl Read) -> Result<Self, Error> {
        gguf::read(reader, |_| false).map(|described| described.metadata)
    }

    /// Read from `model_info` of Ollama's `POST /api/show`. Only a verbose one has arrays of more than
    /// five elements.
    #[must_use]
    pub fn from_model_info(info: &serde_json::Map<String, Value>) -> Self {
        let mut metadata = Self::default();
        for (key, value) in info {
            if let Some(scalar) = Scalar::from_json(value) {
                metadata.insert(key.clone(), scalar);
            } else if let Some(values) = value.as_array().filter(|values| values.len() <= MAX_SHORT) {
                metadata.insert_list(key.clone(), values.iter().map(Scalar::from_json));
            }
        }
        metadata
    }

    /// A text, e.g. `tokenizer.chat_template`.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.scalars.get(key)? {
            Scalar::Text(text) => Some(text),
            Scalar::Bool(_) | Scalar::Integer(_) | Scalar::Float(_) => None,
        }
    }

    /// A whole number that is not negative, e.g. `llama.context_length`.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<u64> {
        match self.scalars.get(key)? {
            Scalar::Integer(number) => u64::try_from(*number).ok(),
            Scalar::Bool(_) | Scalar::Float(_) | Scalar::Text(_) => None,
        }
    }

    /// A truth value, e.g. `tokenizer.ggml.add_bos_token`.
    #[must_use]
    pub fn flag(&self, key: &str) -> Option<bool> {
        match self.scalars.get(key)? {
            Scalar::Bool(flag) => Some(*flag),
            Scalar::Integer(_) | Scalar::Float(_) | Scalar::Text(_) => None,
        }
    }

    /// The architecture, e.g. `llama`: it begins the keys of the model's dimensions.
    #[must_use]
    pub fn architecture(&self) -> Option<&str> {
        self.text("general.architecture")
    }

    /// The context that the model was made for, in tokens.
    #[must_use]
    pub fn context_length(&self) -> Option<u64> {
        self.dimension("context_length")
    }

    /// The window of sliding attention, in tokens; none if the model has no such attention.
    #[must_use]
    pub fn sliding_window(&self) -> Option<u64> {
        self.dimension("attention.sliding_window").filter(|window| *window > 0)
    }

    /// The template that makes a prompt of messages, in Jinja.
    #[must_use]
    pub fn chat_template(&self) -> Option<&str> {
        self.text("tokenizer.chat_template")
    }

    /// A number of the architecture's, e.g. `attention.head_count` for `llama.attention.head_count`.
    #[must_use]
    pub fn dimension(&self, name: &str) -> Option<u64> {
        self.number(&format!("{}.{name}", self.architecture()?))
    }

    /// The same of each layer, where the model has an array of it: truth values are 0 and 1.
    #[must_use]
    pub fn dimensions(&self, name: &str) -> Option<&[u64]> {
        self.lists.get(&format!("{}.{name}", self.architecture()?)).map(Vec::as_slice)
    }

    pub(crate) fn insert(&mut self, key: String, value: Scalar) {
        self.scalars.insert(key, value);
    }

    /// Keeps an array, if it is short and holds nothing but whole numbers and truth values.
    pub(crate) fn insert_list(&mut self, key: String, values: impl Iterator<Item = Option<Scalar>>) {
        let whole = |value: Option<Scalar>| match value? {
            Scalar::Bool(flag) => Some(u64::from(flag)),
            Scalar::Integer(number) => u64::try_from(number).ok(),
            Scalar::Float(_) | Scalar::Text(_) => None,
        };
        if let Some(list) = values.map(whole).collect::<Option<Vec<_>>>() {
            self.lists.insert(key, list);
        }
    }

    /// Whether an array of so many elements is kept.
    pub(crate) fn keeps(length: u64) -> bool {
        length <= MAX_SHORT as u64
    }
}

// === impl Scalar ===

impl Scalar {
    fn from_json(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(flag) => Some(Self::Bool(*flag)),
            Value::Number(number) => {
                let integer = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
                integer.map(Self::Integer).or_else(|| number.as_f64().map(Self::Float))
            }
            Value::String(text) => Some(Self::Text(text.clone())),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn dimensions_are_found_by_architecture() {
        let info = json!({
            "general.architecture": "gemma3",
            "gemma3.context_length": 32768,
            "gemma3.attention.sliding_window": 512,
            "gemma3.rope.freq_base": 1e6,
            "llama.context_length": 1,
            "tokenizer.ggml.add_bos_token": true,
            "tokenizer.ggml.tokens": null,
            "gemma3.attention.head_count_kv": [8, 0, 8],
            "gemma3.attention.sliding_window_pattern": [true, false],
            "gemma3.attention.scales": [0.5],
        });
        let metadata = Metadata::from_model_info(info.as_object().unwrap());
        assert_eq!(metadata.dimensions("attention.head_count_kv"), Some(&[8, 0, 8][..]));
        assert_eq!(metadata.dimensions("attention.sliding_window_pattern"), Some(&[1, 0][..]));
        assert_eq!(metadata.dimensions("attention.scales"), None);
        assert_eq!(metadata.context_length(), Some(32768));
        assert_eq!(metadata.sliding_window(), Some(512));
        assert_eq!(metadata.flag("tokenizer.ggml.add_bos_token"), Some(true));
        assert_eq!(metadata.chat_template(), None);
        assert_eq!(metadata.number("gemma3.rope.freq_base"), None);
    }
}
