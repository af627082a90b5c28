//! What an engine answered, before it is written in the form of an endpoint.

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Failure, Response, Timings};

/// A whole answer to a chat or a completion.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    pub(super) text: String,
    /// The model's thoughts, where it was asked for them.
    pub(super) thinking: Option<String>,
    pub(super) tool_calls: Vec<ToolCall>,
    /// One object a token: `token`, `logprob`, `bytes`, `top_logprobs`. Both APIs agree on it.
    pub(super) logprobs: Option<Vec<Value>>,
    pub(super) length_limited: bool,
    pub(super) usage: Usage,
    pub(super) timings: Timings,
}

/// A function that the model wants called.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ToolCall {
    /// Empty if the engine gave none.
    pub(super) id: String,
    pub(super) name: String,
    /// An object.
    pub(super) arguments: Value,
}

/// Tokens as the engine counted them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Usage {
    pub(super) prompt: Option<u64>,
    /// Of the prompt, those from the cache.
    pub(super) cached: Option<u64>,
    pub(super) completion: Option<u64>,
}

/// Vectors in the order of the inputs.
#[derive(Debug, Clone)]
pub(super) struct Vectors {
    /// Each a list of numbers, kept as the engine wrote them.
    pub(super) vectors: Vec<Value>,
    pub(super) usage: Usage,
}

/// What makes an answer written here unique, given from outside so that writing stays pure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    pub(super) id: Uuid,
    pub(super) created: Timestamp,
}

// === impl Stamp ===

impl Stamp {
    pub(super) fn now() -> Self {
        Self { id: Uuid::now_v7(), created: Timestamp::now() }
    }
}

// === impl Answer ===

impl Answer {
    pub(super) fn into_response(self, body: Value) -> Response {
        Response {
            status: 200,
            body,
            text: self.text,
            prompt_tokens: self.usage.prompt,
            cached_tokens: self.usage.cached,
            completion_tokens: self.usage.completion,
            length_limited: self.length_limited,
            timings: self.timings,
        }
    }
}

// === impl Usage ===

impl Usage {
    /// OpenAI's `usage`, without what is not known.
    pub(super) fn openai(&self) -> Value {
        let prompt = self.prompt.unwrap_or_default();
        let completion = self.completion.unwrap_or_default();
        let mut usage = json!({
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        });
        if let Some(cached) = self.cached {
            usage["prompt_tokens_details"] = json!({ "cached_tokens": cached });
        }
        usage
    }
}

// === impl Vectors ===

impl Vectors {
    /// There is a vector for each input, of `dimensions` numbers where that was asked for.
    pub(super) fn check(&self, inputs: usize, dimensions: Option<u64>) -> Result<(), Failure> {
        if self.vectors.len() != inputs {
            let why = format!("{} vectors for {inputs} inputs", self.vectors.len());
            return Err(Failure::unreadable(&why));
        }
        for vector in &self.vectors {
            let numbers = vector.as_array().ok_or_else(|| Failure::unreadable(&"a vector is no list"))?;
            if dimensions.is_some_and(|dimensions| dimensions != numbers.len() as u64) {
                let why = format!("the engine gave {} dimensions", numbers.len());
                return Err(Failure::unsupported("dimensions", &why));
            }
        }
        Ok(())
    }

    pub(super) fn into_response(self, body: Value) -> Response {
        Response {
            status: 200,
            body,
            text: String::new(),
            prompt_tokens: self.usage.prompt,
            cached_tokens: self.usage.cached,
            completion_tokens: None,
            length_limited: false,
            timings: Timings::default(),
        }
    }
}
