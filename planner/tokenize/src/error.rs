use std::io;

/// Why there is no tokenizer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read, or ends too early.
    #[error("cannot read the model's file")]
    Read(#[from] io::Error),
    /// The file does not start as a GGUF file does.
    #[error("not a GGUF file")]
    NotGguf,
    /// A version of GGUF, or an order of bytes, that is not read here: version 2 and 3, little-endian.
    #[error("GGUF version {0:#x} is not supported")]
    Version(u32),
    /// A length or a count is above what any model has.
    #[error("{what} of {found} is above the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        found: u64,
        /// The largest that is read.
        limit: u64,
    },
    /// A value that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A value is of another type than it must be, or out of its range.
    #[error("{0} is invalid")]
    Invalid(String),
    /// `tokenizer.ggml.model` is a kind of tokenizer that is not known here.
    #[error("unknown kind of tokenizer `{0}`")]
    UnknownModel(String),
    /// `tokenizer.ggml.pre` is a pre-tokenizer that is not known here; empty if it is not named.
    #[error("unknown pre-tokenizer `{0}`")]
    UnknownPre(String),
    /// Bytes that are no definition.
    #[error("not a tokenizer's definition: {0}")]
    Definition(&'static str),
    /// `tokenizer.json` is not one, or one that cannot be used.
    #[error("invalid tokenizer.json")]
    Json(#[source] Box<dyn std::error::Error + Send + Sync>),
}
