//! The one table that says what an engine's error means.
//!
//! By text first: one version of an engine says 500 where the next says 400 (Ollama 0.12 and
//! 0.33 about the same mistake), and both say 500 for a request at fault, a runner that died
//! and a model that never loads. The status decides only what no rule names.

use super::Class;

/// If the text holds all fragments (lower case), it means this.
type Rule = (&'static [&'static str], Class, &'static str);

/// The first that matches counts.
const RULES: &[Rule] = &[
    // A request that is wrong. First, because some of these repeat its own words.
    (&["invalid format"], Class::Request, "invalid_schema"),
    (&["invalid json schema"], Class::Request, "invalid_schema"),
    (&["json schema conversion failed"], Class::Request, "invalid_schema"),
    (&["failed to parse grammar"], Class::Request, "invalid_schema"),
    (&["option", "must be of type"], Class::Request, "invalid_request"),
    (&["no input provided"], Class::Request, "invalid_request"),
    (&["cannot unmarshal"], Class::Request, "invalid_request"),
    // The prompt and the context.
    (&["exceed_context_size_error"], Class::Request, "context_length_exceeded"),
    (&["exceeds the available context size"], Class::Request, "context_length_exceeded"),
    (&["input length exceeds the context length"], Class::Request, "context_length_exceeded"),
    (&["prompt is longer than the context length"], Class::Request, "context_length_exceeded"),
    (&["maximum context length"], Class::Request, "context_length_exceeded"),
    (&["longer than the maximum model length"], Class::Request, "context_length_exceeded"),
    (&["too large to process", "batch size"], Class::Request, "context_length_exceeded"),
    // A runner that died: `no longer running` is said to those that only waited.
    (&["no longer running"], Class::Bystander, "engine_runner_died"),
    (&["error was encountered while running the model"], Class::Suspect, "engine_runner_died"),
    (&["runner has unexpectedly stopped"], Class::Suspect, "engine_runner_died"),
    // A model that does not load. Ollama tries again at every request: so stop asking.
    (&["process has terminated"], Class::Model, "model_load_failed"),
    (&["out-of-memory during startup"], Class::Model, "model_load_failed"),
    (&["timed out waiting for", "to start"], Class::Model, "model_load_failed"),
    (&["may be incompatible with your version"], Class::Model, "model_load_failed"),
    (&["requires more system memory"], Class::Model, "model_load_failed"),
    (&["exceeds file size"], Class::Model, "model_load_failed"),
    (&["invalid file magic"], Class::Model, "model_load_failed"),
    (&["failed to load model"], Class::Model, "model_load_failed"),
    (&["unable to load model"], Class::Model, "model_load_failed"),
    (&["error loading model"], Class::Model, "model_load_failed"),
    (&["unknown model architecture"], Class::Model, "model_load_failed"),
    // What the model, or the server as it was started, cannot do.
    (&["does not support"], Class::Request, "unsupported_by_model"),
    (&["missing data required for image input"], Class::Request, "unsupported_by_model"),
    // A model that this engine does not have.
    (&["model", "not found"], Class::Model, "model_not_found"),
    (&["model", "does not exist"], Class::Model, "model_not_found"),
    // Passing trouble.
    (&["loading model"], Class::Down, "engine_loading"),
    (&["server busy"], Class::Bystander, "engine_busy"),
    (&["request canceled"], Class::Retry, "engine_busy"),
    (&["out of memory"], Class::Retry, "engine_out_of_memory"),
    (&["llama-server chat error"], Class::Retry, "engine_error"),
];

/// What an engine's error means: its class and the stable code of the request's error line.
/// An unknown 5xx is tried again (a bounded number of times), an unknown 4xx is the request's.
pub(super) fn classify(status: u16, text: &str) -> (Class, &'static str) {
    let text = text.to_ascii_lowercase();
    let rule = RULES.iter().find(|(all, ..)| all.iter().all(|fragment| text.contains(fragment)));
    if let Some(&(_, class, code)) = rule {
        return (class, code);
    }
    match status {
        401 | 403 => (Class::Model, "access_denied"),
        404 | 405 | 501 => (Class::Model, "endpoint_not_supported"),
        // It said so before it began: whoever is turned away waits for as long as it takes.
        429 | 503 => (Class::Bystander, "engine_busy"),
        408 | 499 | 504 => (Class::Retry, "engine_busy"),
        400..=499 => (Class::Request, "invalid_request"),
        _ => (Class::Retry, "engine_error"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sentences known from the engines' sources and from vLLM that no recording holds.
    #[test]
    fn knows_what_was_never_recorded() {
        for (status, text, expected) in [
            (500, "llama-server process has terminated: signal: killed", (Class::Model, "model_load_failed")),
            (
                500,
                "llama-server process has terminated: exit status 1: cudaMalloc failed: out of memory",
                (Class::Model, "model_load_failed"),
            ),
            (
                500,
                "timed out waiting for llama-server to start - progress 0.00",
                (Class::Model, "model_load_failed"),
            ),
            (500, "CUDA error: out of memory", (Class::Retry, "engine_out_of_memory")),
            (499, "request canceled", (Class::Retry, "engine_busy")),
            (404, "model \"x\" not found, try pulling it first", (Class::Model, "model_not_found")),
            (404, "The model `x` does not exist.", (Class::Model, "model_not_found")),
            (
                400,
                "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens",
                (Class::Request, "context_length_exceeded"),
            ),
            (
                500,
                "input (700 tokens) is too large to process. increase the physical batch size (current batch size: 512)",
                (Class::Request, "context_length_exceeded"),
            ),
            (503, r#"{"error":{"code":503,"message":"Loading model"}}"#, (Class::Down, "engine_loading")),
            (502, "bad gateway", (Class::Retry, "engine_error")),
            (503, "", (Class::Bystander, "engine_busy")),
            (422, "nope", (Class::Request, "invalid_request")),
            (401, "unauthorized", (Class::Model, "access_denied")),
        ] {
            assert_eq!(classify(status, text), expected, "{status} {text}");
        }
    }

    #[test]
    fn rules_are_lower_case() {
        for (all, ..) in RULES {
            assert!(all.iter().all(|fragment| *fragment == fragment.to_ascii_lowercase()), "{all:?}");
        }
    }
}
