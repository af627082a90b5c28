use crate::merge::Merger;
use crate::special::{Fragment, Specials};

/// Counts and makes the tokens of a text, as the engine that the definition came from would.
///
/// - It is about the text alone: nothing is put before or after it (no BOS, no EOS).
/// - A text that spells a special token becomes that token, as in a rendered prompt, which Ollama
///   and llama-server tokenize with `parse_special`: `<|im_end|>` in a user's text counts as one.
/// - Tokens do not add up over parts of a text: two words cut apart may have one token more, or fewer.
/// - Time is linear in the text, up to the logarithm of its longest word, and memory a small multiple
///   of a word: words above 64 KiB are cut, and each cut makes the result wrong by about a token.
pub trait Tokenizer: Send + Sync {
    /// How many tokens the text has: the length of what [`Tokenizer::encode`] gives.
    fn count(&self, text: &str) -> u64;

    /// The ids of the text's tokens.
    fn encode(&self, text: &str) -> Vec<u32>;
}

/// One of llama.cpp's ways to tokenize what is between special tokens.
pub(crate) trait Plain: Send + Sync {
    /// Hand out the tokens of a fragment; `opening` if it begins the text or follows a special token.
    fn tokens(&self, fragment: &str, opening: bool, scratch: &mut Scratch, emit: &mut dyn FnMut(u32));
}

/// What is kept from word to word.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(crate) merger: Merger,
    pub(crate) text: String,
    pub(crate) ids: Vec<u32>,
}

/// Special tokens first, then what is between them.
pub(crate) struct Composed<P> {
    pub(crate) specials: Specials,
    pub(crate) plain: P,
}

// === impl Composed ===

impl<P: Plain> Composed<P> {
    fn tokens(&self, text: &str, emit: &mut dyn FnMut(u32)) {
        let mut scratch = Scratch::default();
        let mut opening = true;
        self.specials.split(text, &mut |fragment| match fragment {
            Fragment::Token(id) => {
                emit(id);
                opening = true;
            }
            Fragment::Text(text) => {
                self.plain.tokens(text, opening, &mut scratch, emit);
                opening = false;
            }
        });
    }
}

impl<P: Plain> Tokenizer for Composed<P> {
    fn count(&self, text: &str) -> u64 {
        let mut count = 0;
        self.tokens(text, &mut |_| count += 1);
        count
    }

    fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        self.tokens(text, &mut |id| ids.push(id));
        ids
    }
}
