use crate::column::Column;

/// A vocabulary's fields, as they are shipped and stored. Tags are never reused.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Fields {
    /// `tokenizer.ggml.model`.
    #[prost(string, tag = "1")]
    pub(crate) model: String,
    /// `tokenizer.ggml.pre`.
    #[prost(string, optional, tag = "2")]
    pub(crate) pre: Option<String>,
    /// `tokenizer.ggml.tokens`, by id.
    #[prost(message, required, tag = "3")]
    pub(crate) tokens: Column,
    /// `tokenizer.ggml.scores`: none, or one a token.
    #[prost(float, repeated, tag = "4")]
    pub(crate) scores: Vec<f32>,
    /// `tokenizer.ggml.token_type`: none, or one a token.
    #[prost(int32, repeated, tag = "5")]
    pub(crate) types: Vec<i32>,
    /// `tokenizer.ggml.merges`, best first.
    #[prost(message, required, tag = "6")]
    pub(crate) merges: Column,
    /// `tokenizer.ggml.precompiled_charsmap`: how SentencePiece normalizes.
    #[prost(bytes = "vec", tag = "7")]
    pub(crate) charsmap: Vec<u8>,
    /// `tokenizer.ggml.unknown_token_id`.
    #[prost(uint32, optional, tag = "8")]
    pub(crate) unknown: Option<u32>,
    /// `tokenizer.ggml.bos_token_id`.
    #[prost(uint32, optional, tag = "9")]
    pub(crate) bos: Option<u32>,
    /// `tokenizer.ggml.eos_token_id`.
    #[prost(uint32, optional, tag = "10")]
    pub(crate) eos: Option<u32>,
    /// `tokenizer.ggml.add_bos_token`.
    #[prost(bool, optional, tag = "11")]
    pub(crate) add_bos: Option<bool>,
    /// `tokenizer.ggml.add_eos_token`.
    #[prost(bool, optional, tag = "12")]
    pub(crate) add_eos: Option<bool>,
    /// `tokenizer.ggml.add_space_prefix`.
    #[prost(bool, optional, tag = "13")]
    pub(crate) add_space_prefix: Option<bool>,
    /// `tokenizer.ggml.remove_extra_whitespaces`.
    #[prost(bool, optional, tag = "14")]
    pub(crate) remove_extra_whitespaces: Option<bool>,
    /// `tokenizer.ggml.normalizer.lowercase`.
    #[prost(bool, optional, tag = "15")]
    pub(crate) lowercase: Option<bool>,
    /// `tokenizer.ggml.normalizer.strip_accents`.
    #[prost(bool, optional, tag = "16")]
    pub(crate) strip_accents: Option<bool>,
    /// `general.architecture`.
    #[prost(string, optional, tag = "17")]
    pub(crate) architecture: Option<String>,
    /// `general.name`.
    #[prost(string, optional, tag = "18")]
    pub(crate) name: Option<String>,
}

/// `tokenizer.ggml.token_type` as llama.cpp numbers it; what is not here is never looked at.
pub(crate) mod kind {
    pub(crate) const NORMAL: i32 = 1;
    pub(crate) const UNKNOWN: i32 = 2;
    pub(crate) const CONTROL: i32 = 3;
    pub(crate) const USER_DEFINED: i32 = 4;
    pub(crate) const UNUSED: i32 = 5;
}

// === impl Fields ===

impl Fields {
    /// The type of a token; normal where none is told.
    pub(crate) fn kind(&self, id: usize) -> i32 {
        self.types.get(id).copied().unwrap_or(kind::NORMAL)
    }

    /// The score of a token; 0 where none is told.
    pub(crate) fn score(&self, id: usize) -> f32 {
        self.scores.get(id).copied().unwrap_or_default()
    }
}
