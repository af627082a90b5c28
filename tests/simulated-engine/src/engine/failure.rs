//! The refusals and failures that an engine answers with, in its own words.

/// An answer that is none: a status and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) status: u16,
    pub(crate) message: String,
}

// === impl Failure ===

impl Failure {
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub(crate) fn model_not_found(model: &str) -> Self {
        Self::new(404, format!("model '{model}' not found"))
    }

    pub(crate) fn busy() -> Self {
        Self::new(503, "server busy, please try again.  maximum pending requests exceeded")
    }

    pub(crate) fn runner_stopped() -> Self {
        Self::new(
            500,
            "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, \
             check ollama server logs for details",
        )
    }

    /// To a request on a slot of a runner that died.
    pub(crate) fn runner_lost() -> Self {
        Self::new(500, "an error was encountered while running the model: unexpected EOF")
    }

    /// To a request that waited for a slot of a runner that died.
    pub(crate) fn no_longer_running(v0_33: bool) -> Self {
        let message = if v0_33 {
            "llama-server process no longer running: unknown "
        } else {
            "llama runner process no longer running: -1 "
        };
        Self::new(500, message)
    }

    pub(crate) fn load_damaged() -> Self {
        Self::new(500, "tensor \"token_embd.weight\" offset+size (184785600) exceeds file size (126556512)")
    }

    pub(crate) fn load_killed() -> Self {
        Self::new(500, "llama-server process has terminated: signal: killed")
    }

    pub(crate) fn load_out_of_memory() -> Self {
        Self::new(500, "llama-server process has terminated: exit status 1: cudaMalloc failed: out of memory")
    }

    pub(crate) fn load_timeout() -> Self {
        Self::new(500, "timed out waiting for llama-server to start - progress 0.00 - ")
    }

    /// `truncate:false` and a prompt of `tokens` in a context of `context`.
    pub(crate) fn too_long(v0_33: bool, tokens: usize, context: usize) -> Self {
        if !v0_33 {
            return Self::new(400, "the input length exceeds the context length");
        }
        Self::new(
            400,
            format!(
                r#"{{"error":{{"code":400,"message":"request ({tokens} tokens) exceeds the available context size ({context} tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":{tokens},"n_ctx":{context}}}}}"#
            ),
        )
    }

    /// `truncate:true`, and even the last message alone does not fit, with `shift:false`.
    pub(crate) fn cannot_truncate() -> Self {
        Self::new(
            400,
            "the prompt is longer than the context length currently available to the model; shorten the prompt, \
             adjust the context length in settings, or use a model with a longer context length",
        )
    }

    pub(crate) fn embed_too_long() -> Self {
        Self::new(400, "the input length exceeds the context length")
    }

    pub(crate) fn no_embeddings(v0_33: bool) -> Self {
        if v0_33 {
            Self::new(501, "This server does not support embeddings. Start it with `--embeddings`")
        } else {
            Self::new(500, "this model does not support embeddings")
        }
    }

    pub(crate) fn no_input() -> Self {
        Self::new(500, "Failed to create new sequence: no input provided")
    }

    pub(crate) fn no_images(v0_33: bool) -> Self {
        if v0_33 {
            Self::new(
                400,
                r#"{"error":{"code":400,"message":"Multimodal data provided, but model does not support multimodal requests.","type":"invalid_request_error"}}"#,
            )
        } else {
            Self::new(
                500,
                "Failed to create new sequence: failed to process inputs: this model is missing data required for image input",
            )
        }
    }

    /// A `format` that is neither "json" nor a schema; `text` is its JSON.
    pub(crate) fn invalid_format(text: &str) -> Self {
        Self::new(500, format!("invalid format: {text:?}; expected \"json\" or a valid JSON Schema object"))
    }

    /// A schema with a part that no grammar can be made of.
    pub(crate) fn bad_schema(v0_33: bool, part: &serde_json::Value) -> Self {
        if !v0_33 {
            return Self::new(500, "invalid JSON schema in format");
        }
        let message = format!(
            "Field 'json_schema': \"json_schema\": JSON schema conversion failed:\nUnrecognized schema: {part}"
        );
        let error =
            serde_json::json!({"error": {"code": 400, "message": message, "type": "invalid_request_error"}});
        Self::new(400, error.to_string())
    }
}
