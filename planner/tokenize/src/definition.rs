use std::io::{Cursor, Read};

use prost::Message;

use crate::fields::Fields;
use crate::{Error, Vocabulary};

/// Bytes of a definition once decompressed, at most: known ones have 1 to 35 MB.
const MAX_DECODED: usize = 64 << 20;
/// zstd's level: a vocabulary of 16 MB takes 0.2 s and becomes 4 MB.
const LEVEL: i32 = 3;
/// What the bytes of a definition begin with, its version last.
const MAGIC: &[u8; 4] = b"CTK\x01";

/// What a tokenizer is built from. As bytes it is what executors ship and planners store.
#[derive(Debug, Clone, PartialEq)]
pub enum Definition {
    /// A vocabulary out of a GGUF, tokenized as llama.cpp does.
    Vocabulary(Vocabulary),
    /// The text of a `tokenizer.json`, tokenized as the crate `tokenizers` does.
    TokenizerJson(String),
}

#[derive(Clone, PartialEq, prost::Message)]
struct Stored {
    #[prost(oneof = "Kind", tags = "1, 2")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(message, boxed, tag = "1")]
    Vocabulary(Box<Fields>),
    #[prost(string, tag = "2")]
    TokenizerJson(String),
}

// === impl Definition ===

impl Definition {
    /// The definition as compressed bytes: 0.3 to 5 MB for known models. Equal definitions have equal
    /// bytes, so a hash of them names the tokenizer.
    ///
    /// # Errors
    /// It is larger than [`Definition::decode`] reads, or zstd fails.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        let kind = match self {
            Self::Vocabulary(vocabulary) => Kind::Vocabulary(Box::new(vocabulary.fields().clone())),
            Self::TokenizerJson(json) => Kind::TokenizerJson(json.clone()),
        };
        let bytes = Stored { kind: Some(kind) }.encode_to_vec();
        if bytes.len() > MAX_DECODED {
            let (found, limit) = (bytes.len() as u64, MAX_DECODED as u64);
            return Err(Error::TooLarge { what: "the size of a definition", found, limit });
        }
        Ok([MAGIC.as_slice(), &zstd::encode_all(Cursor::new(bytes), LEVEL)?].concat())
    }

    /// The definition that [`Definition::encode`] gave as bytes. Decompresses 64 MiB at most, and
    /// takes four times that for the worst input.
    ///
    /// # Errors
    /// The bytes are no definition, one of a later version, or larger than the bound.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let Some(bytes) = bytes.strip_prefix(MAGIC) else {
            return Err(Error::Definition("it does not begin as one"));
        };
        let damaged = || Error::Definition("it is damaged");
        let mut decoded = Vec::new();
        let stream = zstd::Decoder::new(bytes).map_err(|_| damaged())?;
        stream.take(MAX_DECODED as u64 + 1).read_to_end(&mut decoded).map_err(|_| damaged())?;
        if decoded.len() > MAX_DECODED {
            return Err(Error::Definition("it is larger than 64 MiB"));
        }
        match Stored::decode(decoded.as_slice()).map_err(|_| damaged())?.kind {
            Some(Kind::Vocabulary(fields)) => Vocabulary::from_fields(fields).map(Self::Vocabulary),
            Some(Kind::TokenizerJson(json)) => Ok(Self::TokenizerJson(json)),
            None => Err(Error::Definition("it has no kind that is known")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition() -> Definition {
        let tokens = ["a", "b", "ab"].into_iter().collect();
        let fields =
            Fields { model: "gpt2".to_owned(), tokens, scores: vec![0.5, -1.0, 2.0], ..Fields::default() };
        Definition::Vocabulary(Vocabulary::from_fields(Box::new(fields)).unwrap())
    }

    #[test]
    fn bytes_give_back_what_they_came_from() {
        for definition in [definition(), Definition::TokenizerJson("{}".to_owned())] {
            let bytes = definition.encode().unwrap();
            assert_eq!(Definition::decode(&bytes).unwrap(), definition);
        }
    }

    #[test]
    fn garbage_and_cut_bytes_are_refused() {
        let bytes = definition().encode().unwrap();
        for end in 0..bytes.len() {
            assert!(Definition::decode(&bytes[..end]).is_err(), "at {end}");
        }
        assert!(matches!(Definition::decode(b"CTK\x02rest"), Err(Error::Definition(_))));
        assert!(matches!(Definition::decode(b"CTK\x01rest"), Err(Error::Definition(_))));
        let other = [MAGIC.as_slice(), &zstd::encode_all(&[0xff; 9][..], 1).unwrap()].concat();
        assert!(matches!(Definition::decode(&other), Err(Error::Definition(_))));
    }

    #[test]
    fn a_small_input_that_grows_without_end_is_refused() {
        let bomb = zstd::encode_all(std::io::repeat(0).take(MAX_DECODED as u64 * 2), 1).unwrap();
        assert!(bomb.len() < 1 << 20);
        let bytes = [MAGIC.as_slice(), &bomb].concat();
        assert!(matches!(Definition::decode(&bytes), Err(Error::Definition("it is larger than 64 MiB"))));
    }
}
