//! What a simulated engine is like.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Which line of Ollama is emulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Emulate {
    /// v0.33: every model in a llama-server subprocess; `shift` is part of the reload set.
    #[value(name = "0.33")]
    V0_33,
    /// v0.12: the line before llama-server; other error texts and statuses.
    #[value(name = "0.12")]
    V0_12,
}

/// Plain data: the whole configuration of one simulated engine. The default is instant, with 4 slots.
#[derive(Debug, Clone, Parser)]
#[command(name = "simulated-engine", version, about)]
pub struct Options {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Requests run in parallel (`OLLAMA_NUM_PARALLEL`); embedding models always have one slot.
    #[arg(long, default_value_t = 4)]
    pub slots: usize,
    /// Name of a chat model it has; may be repeated. One model is loaded at a time.
    #[arg(long = "model", default_value = "simulated")]
    pub models: Vec<String>,
    /// Name of an embedding model it has; may be repeated.
    #[arg(long = "embedding-model")]
    pub embedding_models: Vec<String>,
    /// Name of a chat model that `/api/pull` can get; may be repeated.
    #[arg(long = "registry-model")]
    pub registry: Vec<String>,
    /// Milliseconds a pull takes.
    #[arg(long, default_value_t = 0)]
    pub pull_ms: u64,
    /// Which revision of its models it has and pulls: another one shows in their digests.
    #[arg(long, default_value_t = 0)]
    pub revision: u64,
    /// Prompt tokens a slot evaluates per second; 0: at once.
    #[arg(long, default_value_t = 0.0)]
    pub prefill: f64,
    /// Answer tokens a slot generates per second; 0: at once.
    #[arg(long, default_value_t = 0.0)]
    pub decode: f64,
    /// Milliseconds every answer takes on its slot, on top of prefill and decode.
    #[arg(long, default_value_t = 0)]
    pub answer_ms: u64,
    /// Milliseconds a load of a model takes.
    #[arg(long, default_value_t = 0)]
    pub load_ms: u64,
    /// Milliseconds more for the load that follows a runner's death.
    #[arg(long, default_value_t = 0)]
    pub recovery_ms: u64,
    /// Tokens of an answer to which no limit and no schema applies.
    #[arg(long, default_value_t = 16)]
    pub answer_tokens: usize,
    /// Context of one slot, in tokens, when a request names none (`OLLAMA_CONTEXT_LENGTH`).
    #[arg(long, default_value_t = 4096)]
    pub context: usize,
    /// Hard context of the models, in tokens; caps `num_ctx`.
    #[arg(long, default_value_t = 131_072)]
    pub max_context: usize,
    /// Tokens that the chat template adds to every message.
    #[arg(long, default_value_t = 0)]
    pub template_tokens: usize,
    /// Tokens of one whitespace-separated word.
    #[arg(long, default_value_t = 1)]
    pub tokens_per_word: usize,
    /// Which line of Ollama to emulate.
    #[arg(long, value_enum, default_value = "0.33")]
    pub emulate: Emulate,
    /// Report `prompt_eval_cached_count`, as Ollama does from v0.33.3.
    #[arg(long)]
    pub report_cached: bool,
    /// The models take tools.
    #[arg(long)]
    pub tools: bool,
    /// The models think.
    #[arg(long)]
    pub thinking: bool,
    /// The models take images.
    #[arg(long)]
    pub vision: bool,
    /// Requests that may wait for a load before others are refused with 503 (`OLLAMA_MAX_QUEUE`).
    #[arg(long, default_value_t = 512)]
    pub max_queue: usize,
    /// Bytes of VRAM. Without it everything fits; 0 is a host without a GPU.
    #[arg(long)]
    pub vram: Option<u64>,
    /// Bytes of a loaded model without its KV cache (default: an 8B model in Q8_0 with its buffers).
    #[arg(long, default_value_t = 8_205_474_201)]
    pub weights: u64,
    /// Layers of the model.
    #[arg(long, default_value_t = 32)]
    pub layers: u64,
    /// KV heads of each layer.
    #[arg(long, default_value_t = 8)]
    pub kv_heads: u64,
    /// Length of a key and of a value of one head; the cache holds them in f16.
    #[arg(long, default_value_t = 128)]
    pub head_length: u64,
    /// Largest request body taken, in bytes.
    #[arg(long, default_value_t = 64 << 20)]
    pub max_body: usize,
    /// Distinct markers and distinct system prompts counted one by one; the bound of the statistics' memory.
    #[arg(long, default_value_t = 100_000)]
    pub max_counted: usize,
    /// Threads that serve.
    #[arg(long, default_value_t = 2)]
    pub threads: usize,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self::parse_from(["simulated-engine"])
    }
}

impl Options {
    pub(crate) fn is_v0_33(&self) -> bool {
        self.emulate == Emulate::V0_33
    }

    /// Time to evaluate `tokens` of a prompt.
    pub(crate) fn prefill_time(&self, tokens: usize) -> Duration {
        time_of(tokens, self.prefill)
    }

    /// Time that a pull takes.
    pub(crate) fn pull_time(&self) -> Duration {
        Duration::from_millis(self.pull_ms)
    }

    /// Time to generate `tokens` of an answer.
    pub(crate) fn decode_time(&self, tokens: usize) -> Duration {
        time_of(tokens, self.decode)
    }
}

fn time_of(tokens: usize, per_second: f64) -> Duration {
    if per_second > 0.0 {
        Duration::try_from_secs_f64(tokens as f64 / per_second).unwrap_or(Duration::MAX)
    } else {
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_instant_with_four_slots() {
        let options = Options::default();
        assert_eq!((options.slots, options.answer_ms, options.load_ms), (4, 0, 0));
        assert_eq!(options.models, ["simulated"]);
        assert_eq!(options.prefill_time(5_000), Duration::ZERO);
    }

    #[test]
    fn speeds_are_tokens_per_second() {
        let options = Options { prefill: 1_000.0, decode: 50.0, ..Options::default() };
        assert_eq!(options.prefill_time(2_400), Duration::from_millis(2_400));
        assert_eq!(options.decode_time(5), Duration::from_millis(100));
    }
}
