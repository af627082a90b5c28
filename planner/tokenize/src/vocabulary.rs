use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::fields::Fields;
use crate::metadata::Described;
use crate::{Error, Metadata, gguf};

const MODEL: &str = "tokenizer.ggml.model";
const TOKENS: &str = "tokenizer.ggml.tokens";
const SCORES: &str = "tokenizer.ggml.scores";
const TYPES: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";
const CHARSMAP: &str = "tokenizer.ggml.precompiled_charsmap";
const ARRAYS: [&str; 5] = [TOKENS, SCORES, TYPES, MERGES, CHARSMAP];

/// Tokens that a vocabulary has at most: the largest known has 262,144.
const MAX_TOKENS: usize = 1 << 21;

/// A model's vocabulary, as GGUF's metadata has it: a few MB to some 30 MB in memory.
///
/// It is consistent (a score and a type for every token, or for none), but whether a tokenizer can
/// be made of it only [`build`](crate::build) tells.
#[derive(Clone, PartialEq)]
pub struct Vocabulary {
    fields: Box<Fields>,
}

// === impl Vocabulary ===

impl Vocabulary {
    /// Take it from `model_info` of Ollama's `POST /api/show` with `"verbose": true`.
    ///
    /// # Errors
    /// The model or its tokens are missing (not verbose), or a value has the wrong type.
    pub fn from_model_info(info: &serde_json::Map<String, Value>) -> Result<Self, Error> {
        let mut described = Described { metadata: Metadata::from_model_info(info), ..Described::default() };
        for key in ARRAYS {
            match info.get(key) {
                None | Some(Value::Null) => {}
                Some(value) => insert(&mut described, key, value)?,
            }
        }
        Self::from_described(described)
    }

    /// Read it from a GGUF file; its tensors are not looked at.
    ///
    /// # Errors
    /// The file cannot be read, is no GGUF file of version 2 or 3, or has no vocabulary.
    pub fn from_gguf(path: &Path) -> Result<Self, Error> {
        Self::read(BufReader::new(File::open(path)?))
    }

    /// Read it from a GGUF's first bytes. Makes many small reads: give it a buffered reader.
    ///
    /// # Errors
    /// As [`Vocabulary::from_gguf`].
    pub fn read(reader: impl Read) -> Result<Self, Error> {
        Self::from_described(gguf::read(reader, |key| ARRAYS.contains(&key))?)
    }

    /// The kind of tokenizer: `tokenizer.ggml.model`.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.fields.model
    }

    /// The pre-tokenizer: `tokenizer.ggml.pre`.
    #[must_use]
    pub fn pre(&self) -> Option<&str> {
        self.fields.pre.as_deref()
    }

    /// How many tokens there are.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.fields.tokens.len()
    }

    pub(crate) fn fields(&self) -> &Fields {
        &self.fields
    }

    pub(crate) fn from_fields(fields: Box<Fields>) -> Result<Self, Error> {
        let tokens = fields.tokens.len();
        let complete = |length: usize| length == 0 || length == tokens;
        if tokens > MAX_TOKENS {
            let (found, limit) = (tokens as u64, MAX_TOKENS as u64);
            return Err(Error::TooLarge { what: "the number of tokens", found, limit });
        }
        if !fields.tokens.is_whole() {
            return Err(Error::Invalid(TOKENS.to_owned()));
        }
        if !fields.merges.is_whole() {
            return Err(Error::Invalid(MERGES.to_owned()));
        }
        if tokens == 0 {
            return Err(Error::Missing(TOKENS));
        }
        if !complete(fields.scores.len()) || fields.scores.iter().any(|score| score.is_nan()) {
            return Err(Error::Invalid(SCORES.to_owned()));
        }
        if !complete(fields.types.len()) {
            return Err(Error::Invalid(TYPES.to_owned()));
        }
        Ok(Self { fields })
    }

    fn from_described(described: Described) -> Result<Self, Error> {
        let Described { metadata, mut texts, mut numbers } = described;
        let text = |key: &str| metadata.text(key).map(str::to_owned);
        let id = |key: &str| metadata.number(key).and_then(|id| u32::try_from(id).ok());
        Self::from_fields(Box::new(Fields {
            model: text(MODEL).ok_or(Error::Missing(MODEL))?,
            pre: text("tokenizer.ggml.pre"),
            tokens: texts.remove(TOKENS).unwrap_or_default(),
            scores: cast(&mut numbers, SCORES, |number| Some(number as f32))?,
            types: cast(&mut numbers, TYPES, whole)?,
            merges: texts.remove(MERGES).unwrap_or_default(),
            charsmap: cast(&mut numbers, CHARSMAP, byte)?,
            unknown: id("tokenizer.ggml.unknown_token_id"),
            bos: id("tokenizer.ggml.bos_token_id"),
            eos: id("tokenizer.ggml.eos_token_id"),
            add_bos: metadata.flag("tokenizer.ggml.add_bos_token"),
            add_eos: metadata.flag("tokenizer.ggml.add_eos_token"),
            add_space_prefix: metadata.flag("tokenizer.ggml.add_space_prefix"),
            remove_extra_whitespaces: metadata.flag("tokenizer.ggml.remove_extra_whitespaces"),
            lowercase: metadata.flag("tokenizer.ggml.normalizer.lowercase"),
            strip_accents: metadata.flag("tokenizer.ggml.normalizer.strip_accents"),
            architecture: text("general.architecture"),
            name: text("general.name"),
        }))
    }
}

impl fmt::Debug for Vocabulary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fields { model, pre, tokens, .. } = self.fields.as_ref();
        formatter
            .debug_struct("Vocabulary")
            .field("model", model)
            .field("pre", pre)
            .field("tokens", &tokens.len())
            .finish()
    }
}

/// An array as JSON has it; Go writes one of bytes as a text in base64.
fn insert(described: &mut Described, key: &str, value: &Value) -> Result<(), Error> {
    let invalid = || Error::Invalid(key.to_owned());
    match value {
        Value::String(bytes) => {
            let bytes = STANDARD.decode(bytes).map_err(|_| invalid())?;
            described.numbers.insert(key.to_owned(), bytes.into_iter().map(f64::from).collect());
        }
        Value::Array(values) if key == TOKENS || key == MERGES => {
            let texts = values.iter().map(Value::as_str).collect::<Option<_>>();
            described.texts.insert(key.to_owned(), texts.ok_or_else(invalid)?);
        }
        Value::Array(values) => {
            let numbers = values.iter().map(Value::as_f64).collect::<Option<_>>().ok_or_else(invalid)?;
            described.numbers.insert(key.to_owned(), numbers);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => return Err(invalid()),
    }
    Ok(())
}

fn cast<T>(
    numbers: &mut BTreeMap<String, Vec<f64>>,
    key: &str,
    cast: impl Fn(f64) -> Option<T>,
) -> Result<Vec<T>, Error> {
    let numbers = numbers.remove(key).unwrap_or_default();
    let cast = numbers.into_iter().map(cast).collect::<Option<_>>();
    cast.ok_or_else(|| Error::Invalid(key.to_owned()))
}

fn whole(number: f64) -> Option<i32> {
    let whole = number as i32;
    (f64::from(whole) == number).then_some(whole)
}

/// A byte, from a signed or an unsigned one.
fn byte(number: f64) -> Option<u8> {
    let whole = whole(number)?;
    u8::try_from(whole).ok().or_else(|| i8::try_from(whole).ok().map(i8::cast_unsigned))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn vocabulary(info: &Value) -> Result<Vocabulary, Error> {
        Vocabulary::from_model_info(info.as_object().unwrap())
    }

    #[test]
    fn what_ollama_shows_is_a_vocabulary_only_if_verbose() {
        let mut info = json!({
            "tokenizer.ggml.model": "llama",
            "tokenizer.ggml.tokens": ["<unk>", "a"],
            "tokenizer.ggml.scores": [-1000, -1.5],
            "tokenizer.ggml.token_type": [2, 1],
            "tokenizer.ggml.precompiled_charsmap": "AAH/",
            "tokenizer.ggml.add_space_prefix": false,
        });
        let found = vocabulary(&info).unwrap();
        assert_eq!(found.fields().scores, [-1000.0, -1.5]);
        assert_eq!(found.fields().charsmap, [0, 1, 255]);
        assert_eq!(found.fields().add_space_prefix, Some(false));
        info["tokenizer.ggml.tokens"] = Value::Null;
        assert!(matches!(vocabulary(&info), Err(Error::Missing("tokenizer.ggml.tokens"))));
    }

    #[test]
    fn what_does_not_fit_together_is_refused_by_name() {
        for (key, value) in [
            ("tokenizer.ggml.scores", json!([1])),
            ("tokenizer.ggml.token_type", json!([1, 1.5])),
            ("tokenizer.ggml.token_type", json!([1, 1, 1])),
            ("tokenizer.ggml.tokens", json!(["a", 1])),
            ("tokenizer.ggml.merges", json!({"a": "b"})),
            ("tokenizer.ggml.precompiled_charsmap", json!([256])),
        ] {
            let mut info = json!({"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": ["a", "b"]});
            info[key] = value;
            let error = vocabulary(&info).unwrap_err();
            assert!(matches!(&error, Error::Invalid(named) if named == key), "{error:?}");
        }
    }
}
