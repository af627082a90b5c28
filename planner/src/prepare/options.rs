use caravan_plan::{BytesPerToken, Limits, Ratio, Tokens};
use serde::{Deserialize, Serialize};

/// Bounds of an input, and what planning assumes where nothing was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Bytes of one line at most. Default 16 MiB: a prompt with some images, and still one message.
    pub max_line_bytes: usize,
    /// Requests of one batch at most. Default 5,000,000: 400 MB of records while it is planned.
    pub max_requests: u64,
    /// Batches that are prepared at once. Default 2: a small one does not wait for a large one.
    pub concurrency: usize,
    /// Lanes assumed for a model that no engine has. Default 4.
    pub default_lanes: u32,
    /// Context of one slot assumed where no engine tells, in tokens. Default 32,768: what Ollama itself
    /// gives a model on a GPU of 24 GB.
    pub default_context: u64,
    /// Answer tokens reserved for a request without `max_tokens`. Default 512.
    pub reserved_answer_tokens: u64,
    /// Part of the context that a conversation may fill. Default 0.8, the original system's.
    pub context_margin: f64,
    /// Part of that which a chunk takes. Default 0.8, the original system's.
    pub chunk_margin: f64,
    /// Bytes of text that make a token, likely. Default 4: English prose.
    pub bytes_per_token: f64,
    /// Tokens assumed for an image. Default 1,024: the order of magnitude of today's vision models.
    pub image_tokens: u64,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            max_line_bytes: 16 << 20,
            max_requests: 5_000_000,
            concurrency: 2,
            default_lanes: 4,
            default_context: 32_768,
            reserved_answer_tokens: 512,
            context_margin: 0.8,
            chunk_margin: 0.8,
            bytes_per_token: 4.0,
            image_tokens: 1_024,
        }
    }
}

impl Options {
    /// The limits of pure planning.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let defaults = Limits::default();
        Limits {
            context_margin: Ratio::from_decimal(self.context_margin).unwrap_or(defaults.context_margin),
            chunk_margin: Ratio::from_decimal(self.chunk_margin).unwrap_or(defaults.chunk_margin),
            reserved_answer_tokens: Tokens(self.reserved_answer_tokens),
            ..defaults
        }
    }

    /// How many bytes make a token.
    #[must_use]
    pub fn bytes_per_token(&self) -> BytesPerToken {
        let defaults = BytesPerToken::default();
        BytesPerToken {
            likely: Ratio::from_decimal(self.bytes_per_token).unwrap_or(defaults.likely),
            ..defaults
        }
    }
}
