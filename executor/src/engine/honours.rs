//! Which fields of a body each driver honours. The drivers refuse every other one by these
//! lists: an engine ignores what it does not know without a word.

use caravan_request::{Endpoint, EngineKind};

/// Fields of OpenAI's endpoints that are accepted and not sent: they do not touch the answer.
pub const NOT_SENT: &[&str] = &["user", "metadata", "store"];

const CHAT_ON_OLLAMA: &[&str] = &[
    "model",
    "messages",
    "stream",
    "n",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "stop",
    "frequency_penalty",
    "presence_penalty",
    "response_format",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "logprobs",
    "top_logprobs",
    "reasoning_effort",
];
const CHAT_ON_OPENAI: &[&str] = &[
    "model",
    "messages",
    "stream",
    "n",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "stop",
    "frequency_penalty",
    "presence_penalty",
    "response_format",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "logprobs",
    "top_logprobs",
    "reasoning_effort",
    "logit_bias",
    "chat_template_kwargs",
    "typical_p",
    "repeat_penalty",
    "repeat_last_n",
];
const COMPLETIONS_ON_OLLAMA: &[&str] = &[
    "model",
    "prompt",
    "stream",
    "n",
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "stop",
    "frequency_penalty",
    "presence_penalty",
    "logprobs",
    "suffix",
    "best_of",
    "echo",
];
const COMPLETIONS_ON_OPENAI: &[&str] = &[
    "model",
    "prompt",
    "stream",
    "n",
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "stop",
    "frequency_penalty",
    "presence_penalty",
    "logprobs",
    "best_of",
    "echo",
    "logit_bias",
    "typical_p",
    "repeat_penalty",
    "repeat_last_n",
];
const EMBEDDINGS: &[&str] = &["model", "input", "stream", "encoding_format", "dimensions"];
const NATIVE_CHAT: &[&str] = &[
    "model",
    "messages",
    "stream",
    "tools",
    "format",
    "options",
    "think",
    "logprobs",
    "top_logprobs",
    "keep_alive",
    "truncate",
    "shift",
];
const NATIVE_GENERATE_ON_OLLAMA: &[&str] = &[
    "model",
    "prompt",
    "stream",
    "suffix",
    "images",
    "format",
    "options",
    "system",
    "template",
    "raw",
    "context",
    "think",
    "logprobs",
    "top_logprobs",
    "keep_alive",
    "truncate",
    "shift",
];
const NATIVE_GENERATE_ON_OPENAI: &[&str] = &[
    "model",
    "prompt",
    "stream",
    "images",
    "format",
    "options",
    "system",
    "raw",
    "think",
    "logprobs",
    "top_logprobs",
    "keep_alive",
    "truncate",
    "shift",
];
const NATIVE_EMBED: &[&str] =
    &["model", "input", "stream", "dimensions", "options", "keep_alive", "truncate"];

/// Keys of a native body's `options` that both drivers honour. Those that decide how a model is
/// loaded belong to the reload set, not to a request; `num_ctx` is only compared with it.
pub const OPTIONS: &[&str] = &[
    "num_ctx",
    "num_predict",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "typical_p",
    "seed",
    "stop",
    "repeat_last_n",
    "repeat_penalty",
    "presence_penalty",
    "frequency_penalty",
];

/// Fields of a body for `endpoint` that the driver of `kind` honours, without [`NOT_SENT`].
/// A value may still be refused: `n` above 1 on Ollama, an image by http URL anywhere.
#[must_use]
pub fn fields(kind: EngineKind, endpoint: Endpoint) -> &'static [&'static str] {
    match (endpoint, kind) {
        (Endpoint::ChatCompletions, EngineKind::Ollama) => CHAT_ON_OLLAMA,
        (Endpoint::ChatCompletions, EngineKind::OpenAi) => CHAT_ON_OPENAI,
        (Endpoint::Completions, EngineKind::Ollama) => COMPLETIONS_ON_OLLAMA,
        (Endpoint::Completions, EngineKind::OpenAi) => COMPLETIONS_ON_OPENAI,
        (Endpoint::Embeddings, _) => EMBEDDINGS,
        (Endpoint::OllamaChat, _) => NATIVE_CHAT,
        (Endpoint::OllamaGenerate, EngineKind::Ollama) => NATIVE_GENERATE_ON_OLLAMA,
        (Endpoint::OllamaGenerate, EngineKind::OpenAi) => NATIVE_GENERATE_ON_OPENAI,
        (Endpoint::OllamaEmbed, _) => NATIVE_EMBED,
    }
}

#[cfg(test)]
mod tests {
    use caravan_request::Treatment;

    use super::*;

    /// What validation lets through for a kind of engine, its driver takes.
    #[test]
    fn takes_every_field_that_validation_lets_through() {
        for kind in [EngineKind::Ollama, EngineKind::OpenAi] {
            for endpoint in Endpoint::ALL {
                for field in caravan_request::fields(endpoint) {
                    let name = field.name();
                    let taken = fields(kind, endpoint).contains(&name);
                    let known = match caravan_request::treatment(kind, endpoint, name) {
                        Treatment::Sent => taken,
                        Treatment::NotSent => taken || NOT_SENT.contains(&name),
                        Treatment::Unsupported => true,
                    };
                    assert!(known, "{kind:?} {endpoint:?} {name}");
                }
            }
        }
    }
}
