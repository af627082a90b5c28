//! The one table that says what an engine's error means.
//!
//! By text first: one version of an engine says 500 where the next says 400 (Ollama 0.12 and
//! 0.33 about the same mistake), and both say 500 for a request at fault, a runner that died
//! and a model that never loads. The status decides only what no rule names.

use super::{Class, Failure};

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
    // A model for which there is not enough memory: with a smaller context there may be.
    (&["process has terminated", "out of memory"], Class::Model, Failure::LOAD_OUT_OF_MEMORY),
    (&["out-of-memory during startup"], Class::Model, Failure::LOAD_OUT_OF_MEMORY),
    (&["requires more system memory"], Class::Model, Failure::LOAD_OUT_OF_MEMORY),
    // A model that does not load. Ollama tries again at every request: so stop asking.
    (&["process has terminated"], Class::Model, "model_load_failed"),
    (&["timed out waiting for", "to start"], Class::Model, "model_load_failed"),
    (&["may be incompatible with your version"], Class::Model, "model_load_failed"),
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

    fn check(cases: &[(u16, &str, Class, &str)]) {
        for &(status, text, class, code) in cases {
            assert_eq!(classify(status, text), (class, code), "{status} {text}");
        }
    }

    #[test]
    fn a_mistake_of_the_request_is_not_tried_again() {
        check(&[
            (400, "invalid character 'x' looking for beginning of value", Class::Request, "invalid_request"),
            (400, "unexpected EOF", Class::Request, "invalid_request"),
            (400, "time: missing unit in duration \"30\"", Class::Request, "invalid_request"),
            (400, "think must be a boolean or string", Class::Request, "invalid_request"),
            (422, "nope", Class::Request, "invalid_request"),
            (500, "option \"num_ctx\" must be of type integer", Class::Request, "invalid_request"),
            (500, "invalid format: \"yaml\"; expected \"json\"", Class::Request, "invalid_schema"),
            (400, "JSON schema conversion failed: Unrecognized schema", Class::Request, "invalid_schema"),
            (500, "failed to parse grammar", Class::Request, "invalid_schema"),
            (400, "\"m\" does not support chat", Class::Request, "unsupported_by_model"),
            (400, "\"m\" does not support generate", Class::Request, "unsupported_by_model"),
            (400, "\"m\" does not support thinking", Class::Request, "unsupported_by_model"),
            (
                400,
                "registry.ollama.ai/library/m does not support tools",
                Class::Request,
                "unsupported_by_model",
            ),
        ]);
    }

    #[test]
    fn a_prompt_that_is_too_long_is_known_in_all_words() {
        let too_long = |status, text| (status, text, Class::Request, "context_length_exceeded");
        check(&[
            too_long(
                400,
                r#"{"error":{"code":400,"message":"request (10006 tokens) exceeds the available context size (8192 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":10006,"n_ctx":8192}}"#,
            ),
            too_long(400, "the prompt is longer than the context length currently available for this model"),
            too_long(400, "the input length exceeds the context length"),
            too_long(500, "the input length exceeds the context length"),
            too_long(
                400,
                "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens",
            ),
            too_long(
                500,
                "input (700 tokens) is too large to process. increase the physical batch size (current batch size: 512)",
            ),
        ]);
    }

    #[test]
    fn a_model_that_is_not_to_be_had_here_is_not_asked_for_again() {
        let load = |text| (500, text, Class::Model, "model_load_failed");
        check(&[
            (404, "model 'x' not found", Class::Model, "model_not_found"),
            (404, "model \"x\" not found, try pulling it first", Class::Model, "model_not_found"),
            (404, "The model `x` does not exist.", Class::Model, "model_not_found"),
            load("llama-server process has terminated: exit status 1"),
            load("llama-server process has terminated: signal: killed"),
            load("llama-server process has terminated: signal: illegal instruction"),
            load("timed out waiting for llama-server to start - progress 0.00"),
            load("this model may be incompatible with your version of Ollama"),
            load("unable to load model: /m/blobs/sha256-1"),
            load("error loading model: unknown model architecture: 'x'"),
            // Another host's models.
            (401, "unauthorized", Class::Model, "access_denied"),
            (403, "ollama cloud is disabled: remote model is unavailable", Class::Model, "access_denied"),
            (404, "404 page not found", Class::Model, "endpoint_not_supported"),
            (405, "405 method not allowed", Class::Model, "endpoint_not_supported"),
            (501, "This server does not implement embeddings", Class::Model, "endpoint_not_supported"),
        ]);
    }

    #[test]
    fn too_little_memory_for_a_load_is_told_from_other_failures() {
        let memory = |text| (500, text, Class::Model, Failure::LOAD_OUT_OF_MEMORY);
        check(&[
            memory("llama-server process has terminated: exit status 1: cudaMalloc failed: out of memory"),
            memory("llama-server reported out-of-memory during startup: ggml_gallocr_reserve failed"),
            memory("model requires more system memory (9.1 GiB) than is available (7.2 GiB)"),
            // While it ran: the next request loads it again.
            (500, "CUDA error: out of memory", Class::Retry, "engine_out_of_memory"),
        ]);
    }

    #[test]
    fn of_a_runner_that_died_those_on_slots_are_suspects_and_those_that_waited_are_not() {
        let suspect = |text| (500, text, Class::Suspect, "engine_runner_died");
        check(&[
            suspect("an error was encountered while running the model: unexpected EOF"),
            suspect(
                "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, check ollama server logs for details",
            ),
            (500, "llama-server process no longer running: -1", Class::Bystander, "engine_runner_died"),
            // In a stream, where the status was sent before.
            (
                200,
                r#"{"error":"an error was encountered while running the model: read: connection reset"}"#,
                Class::Suspect,
                "engine_runner_died",
            ),
        ]);
    }

    #[test]
    fn what_passes_is_tried_again() {
        check(&[
            (
                503,
                "server busy, please try again.  maximum pending requests exceeded",
                Class::Bystander,
                "engine_busy",
            ),
            (503, "", Class::Bystander, "engine_busy"),
            (429, "slow down", Class::Bystander, "engine_busy"),
            (503, r#"{"error":{"code":503,"message":"Loading model"}}"#, Class::Down, "engine_loading"),
            (499, "request canceled", Class::Retry, "engine_busy"),
            (500, "llama-server chat error: stream ended", Class::Retry, "engine_error"),
            (502, "bad gateway", Class::Retry, "engine_error"),
            (500, "something new", Class::Retry, "engine_error"),
        ]);
    }

    #[test]
    fn rules_are_lower_case() {
        for (all, ..) in RULES {
            assert!(all.iter().all(|fragment| *fragment == fragment.to_ascii_lowercase()), "{all:?}");
        }
    }

    #[test]
    fn the_page_on_lines_has_every_code() {
        let page = include_str!("../../../docs/errors/lines.md");
        let of_status = [401, 404, 429, 408, 400, 500].map(|status| classify(status, "").1);
        for code in RULES.iter().map(|(.., code)| *code).chain(of_status) {
            assert!(page.contains(&format!("\n| `{code}` | ")), "docs/errors/lines.md lacks {code}");
        }
    }
}
