use tokenizers::Tokenizer as Library;

use crate::{Error, Tokenizer, word};

/// A `tokenizer.json`, by the crate `tokenizers`. Texts above 64 KiB are cut: it takes the square of
/// a word's length for some models, and all of a text in memory several times over.
pub(crate) struct Json(Library);

// === impl Json ===

impl Json {
    pub(crate) fn new(json: &str) -> Result<Self, Error> {
        let mut library = Library::from_bytes(json).map_err(Error::Json)?;
        library.with_truncation(None).map_err(Error::Json)?;
        library.with_padding(None);
        // A model without an unknown token fails at what it does not know: better now than later.
        library.encode_fast("a\u{0}é🙂", false).map_err(Error::Json)?;
        Ok(Self(library))
    }

    /// The ids of a piece. One that the library cannot tokenize after all counts a token a byte: too
    /// many, never too few.
    fn ids(&self, piece: &str, take: &mut dyn FnMut(&[u32])) {
        match self.0.encode_fast(piece, false) {
            Ok(encoding) => take(encoding.get_ids()),
            Err(_) => take(&vec![0; piece.len()]),
        }
    }
}

impl Tokenizer for Json {
    fn count(&self, text: &str) -> u64 {
        let mut count = 0;
        word::pieces(text).for_each(|piece| self.ids(piece, &mut |ids| count += ids.len() as u64));
        count
    }

    fn encode(&self, text: &str) -> Vec<u32> {
        let mut all = Vec::new();
        word::pieces(text).for_each(|piece| self.ids(piece, &mut |ids| all.extend_from_slice(ids)));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(model: &str) -> Result<Json, Error> {
        Json::new(&format!(
            r#"{{"version": "1.0", "pre_tokenizer": {{"type": "WhitespaceSplit"}}, "model": {model}}}"#
        ))
    }

    #[test]
    fn a_text_of_any_length_is_counted() {
        let model = r#"{"type": "WordLevel", "vocab": {"a": 5, "?": 7}, "unk_token": "?"}"#;
        let tokenizer = json(model).unwrap();
        assert_eq!(tokenizer.encode("a b  a"), [5, 7, 5]);
        assert_eq!(tokenizer.count(&"a ".repeat(100_000)), 100_000);
        assert_eq!(tokenizer.count(""), 0);
    }

    #[test]
    fn what_cannot_tokenize_everything_is_refused() {
        let model = r#"{"type": "WordLevel", "vocab": {"a": 5}, "unk_token": "?"}"#;
        assert!(matches!(json(model), Err(Error::Json(_))));
        assert!(matches!(json("null"), Err(Error::Json(_))));
    }
}
