//! What a simulated engine is like.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{Parser, ValueEnum};

use crate::release::Release;

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
    /// Where the runner tells of its slots and counters, as llama-server does on a port of its own
    /// (`/slots`, and `/metrics` as with `LLAMA_ARG_ENDPOINT_METRICS`); absent: nowhere.
    #[arg(long)]
    pub runner_listen: Option<SocketAddr>,
    /// Requests run in parallel (`OLLAMA_NUM_PARALLEL`); embedding models always have one slot.
    #[arg(long, default_value_t = 4)]
    pub slots: usize,
    /// Name of a chat model it has; may be repeated. One model is loaded at a time.
    #[arg(long = "model", default_value = "simulated")]
    pub models: Vec<String>,
    /// Name of one of the models whose template is the model's own and not Ollama's: a prompt that is too
    /// long for them is llama-server's business, which cuts nothing. May be repeated.
    #[arg(long = "native-model")]
    pub native_models: Vec<String>,
    /// Family of the models. Some run one request at a time, whatever `slots` says.
    #[arg(long, default_value = "llama")]
    pub family: String,
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
    /// Context of one slot, in tokens, when a request names none (`OLLAMA_CONTEXT_LENGTH`); 0: by how
    /// much VRAM there is.
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
    /// Version to report and to behave as, e.g. `0.12.5`; `0.0.0` is a development build. Without it, a
    /// release of the line that is emulated.
    #[arg(long)]
    pub release: Option<String>,
    /// Version to report instead of the one that it behaves as: a build from a source tree says `0.0.0`.
    #[arg(long)]
    pub reports: Option<String>,
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
    /// Tokens that a token sees in all layers but every sixth (sliding-window attention); 0: all of them.
    #[arg(long, default_value_t = 0)]
    pub sliding_window: usize,
    /// Keep the whole cache of those layers too: more memory, and every prefix can be reused.
    #[arg(long, env = "LLAMA_ARG_SWA_FULL", value_parser = FalseyValueParser::new())]
    pub swa_full: bool,
    /// KiB of host memory that every request leaves behind in the runner, as real pages.
    #[arg(long, default_value_t = 0)]
    pub leak_kib: u64,
    /// Copy every prompt that leaves a slot to host memory, as real pages. Only the memory is copied from
    /// the real thing: no prompt comes back.
    #[arg(long)]
    pub cache_prompts: bool,
    /// MiB of those copies; llama-server's own default.
    #[arg(long, env = "LLAMA_ARG_CACHE_RAM", default_value_t = 8_192)]
    pub cache_ram: u64,
    /// A client that leaves a stream takes a slot with it until the model is loaded anew.
    #[arg(long)]
    pub leak_streams: bool,
    /// Answers differ with what else runs and with what was cached, as sums of floating point numbers do.
    #[arg(long)]
    pub nondeterministic: bool,
    /// Largest request body taken, in bytes.
    #[arg(long, default_value_t = 64 << 20)]
    pub max_body: usize,
    /// Distinct markers and distinct system prompts counted one by one; the bound of the statistics' memory.
    #[arg(long, default_value_t = 100_000)]
    pub max_counted: usize,
    /// File to which the time, in microseconds since 1970, and the marker of every answer that was finished
    /// are added, a line each: it outlives the process. Absent: nowhere.
    #[arg(long)]
    pub answers_file: Option<PathBuf>,
    /// Threads that serve.
    #[arg(long, default_value_t = 2)]
    pub threads: usize,
}

/// Families of which Ollama runs one request at a time.
const ALONE: [&str; 10] = [
    "mllama",
    "qwen3vl",
    "qwen3vlmoe",
    "qwen35",
    "qwen35moe",
    "qwen3next",
    "lfm2",
    "lfm2moe",
    "nemotron_h",
    "nemotron_h_moe",
];
/// Default contexts by the bytes of VRAM that there are at least.
const TIERS: [(u64, usize); 2] = [(47 << 30, 262_144), (23 << 30, 32_768)];
/// The default context below all of them.
const SMALLEST: usize = 4_096;

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self::parse_from(["simulated-engine"])
    }
}

impl Options {
    pub(crate) fn is_v0_33(&self) -> bool {
        self.as_release().map_or(self.emulate == Emulate::V0_33, Release::runs_llama_server)
    }

    /// What it says to be.
    pub(crate) fn version(&self) -> &str {
        let line = if self.emulate == Emulate::V0_33 { "0.33.0" } else { "0.12.6" };
        self.reports.as_deref().or(self.release.as_deref()).unwrap_or(line)
    }

    /// Whether prompts that are too long are cut whatever a request says.
    pub(crate) fn always_truncates(&self) -> bool {
        self.as_release().is_some_and(|release| !release.refuses_long_prompts())
    }

    /// Whether what came from a cache is left out of the tokens of a prompt.
    pub(crate) fn counts_only_evaluated(&self) -> bool {
        self.as_release().is_some_and(Release::counts_only_evaluated)
    }

    /// Whether what came from a cache is counted in a field of its own.
    pub(crate) fn counts_cached(&self) -> bool {
        self.report_cached || self.as_release().is_some_and(Release::counts_cached)
    }

    fn as_release(&self) -> Option<Release> {
        self.release.as_deref().and_then(Release::parse)
    }

    /// Requests that a runner of the family runs in parallel.
    pub(crate) fn slots_for(&self, embedding: bool) -> usize {
        let alone =
            if self.is_v0_33() { ALONE.contains(&self.family.as_str()) } else { self.family == "mllama" };
        if embedding || alone { 1 } else { self.slots }
    }

    /// Context of one slot when a request names none.
    pub(crate) fn default_context(&self) -> usize {
        let room = self.vram.unwrap_or(u64::MAX);
        match self.context {
            0 if self.is_v0_33() => {
                TIERS.iter().find(|(bytes, _)| room >= *bytes).map_or(SMALLEST, |tier| tier.1)
            }
            0 => SMALLEST,
            stated => stated,
        }
    }

    /// Bytes of one token in the cache of all layers, in f16: keys and values.
    pub(crate) fn token_bytes(&self) -> u64 {
        self.layers * self.kv_heads * 2 * self.head_length * 2
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
    fn the_default_context_follows_the_vram() {
        let context = |vram, release: &str| {
            let release = Some(release.to_owned());
            Options { context: 0, vram, release, ..Options::default() }.default_context()
        };
        let of = |gib: u64| context(Some(gib << 30), "0.33.0");
        assert_eq!([of(80), of(24), of(16), of(0)], [262_144, 32_768, 4_096, 4_096]);
        assert_eq!((context(None, "0.33.0"), context(None, "0.12.6")), (262_144, 4_096));
        assert_eq!(Options::default().default_context(), 4_096);
    }

    #[test]
    fn some_families_run_alone() {
        let slots = |family: &str, emulate| {
            Options { family: family.into(), emulate, ..Options::default() }.slots_for(false)
        };
        assert_eq!((slots("qwen35", Emulate::V0_33), slots("qwen35", Emulate::V0_12)), (1, 4));
        assert_eq!((slots("mllama", Emulate::V0_12), slots("llama", Emulate::V0_33)), (1, 4));
        assert_eq!(Options::default().slots_for(true), 1);
    }

    #[test]
    fn speeds_are_tokens_per_second() {
        let options = Options { prefill: 1_000.0, decode: 50.0, ..Options::default() };
        assert_eq!(options.prefill_time(2_400), Duration::from_millis(2_400));
        assert_eq!(options.decode_time(5), Duration::from_millis(100));
    }
}
