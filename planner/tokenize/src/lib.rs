//! Tokenizers of models, built from what engines tell: the same tokens as the engine's own.
//!
//! A [`Vocabulary`] comes out of a GGUF file or of what Ollama shows of a model; a [`Definition`]
//! is its compact form, to ship and to store; [`build`] makes the [`Tokenizer`]. What is not known
//! for certain (a kind of tokenizer, a pre-tokenizer) is an [`Error`] that names it: a wrong count
//! is worse than none. Checked token for token against llama.cpp, see `tests/oracle.rs`.
//!
//! The crate `tokenizers` reads `tokenizer.json` and nothing else here, because it cannot say what
//! llama.cpp says: equal scores are equal there and go by place, and special tokens that a text
//! spells are found by other rules. Its byte pair encoding takes twice the memory and four times the
//! time (Llama 3's vocabulary, measured).
//!
//! Not here: chat templates. A tokenizer counts a text alone; what an engine puts before a prompt
//! (BOS) is named by [`Definition::begin`].

mod begin;
mod bpe;
mod breaks;
mod build;
mod charsmap;
mod column;
mod definition;
mod error;
mod fields;
mod gguf;
mod json;
mod merge;
mod metadata;
mod pre;
mod special;
mod spm;
mod table;
mod tokenizer;
mod unigram;
mod vocabulary;
mod word;
mod wpm;

pub use build::build;
pub use definition::Definition;
pub use error::Error;
pub use metadata::Metadata;
pub use tokenizer::Tokenizer;
pub use vocabulary::Vocabulary;
