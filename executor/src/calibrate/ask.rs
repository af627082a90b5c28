//! One measured request.

use std::time::Duration;

use caravan_request::Endpoint;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::engine::{Call, Class, Engine, Failure, ReloadSet};

/// Tries of a request that failed in passing, each with another seed: a model that repeats itself is
/// broken off by its engine.
const TRIES: u32 = 4;

/// Where requests go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) engine: &'a dyn Engine,
    pub(crate) model: &'a str,
    pub(crate) set: ReloadSet,
}

/// One chat.
#[derive(Debug, Clone)]
pub(crate) struct Question<'a> {
    /// Role and text of each message.
    pub(crate) chat: &'a [(&'a str, &'a str)],
    /// Answer tokens, at most.
    pub(crate) answer: u64,
    /// Of the engine's sampling.
    pub(crate) seed: u32,
}

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Answered {
    pub(crate) prompt: Option<u64>,
    pub(crate) cached: Option<u64>,
    pub(crate) answer: Option<u64>,
    /// From the request to its answer.
    pub(crate) took: Duration,
    /// Evaluating the prompt, as the engine says.
    pub(crate) prompt_time: Option<Duration>,
}

// === impl Target ===

impl Target<'_> {
    /// Asks, and asks again if the answer was broken off.
    pub(crate) async fn ask(&self, question: &Question<'_>) -> Result<Answered, Failure> {
        let mut tried = 0;
        loop {
            tried += 1;
            let seed = question.seed.wrapping_add(tried - 1);
            match self.ask_once(&Question { seed, ..question.clone() }).await {
                Err(failure) if failure.class == Class::Retry && tried < TRIES => {}
                other => return other,
            }
        }
    }

    async fn ask_once(&self, question: &Question<'_>) -> Result<Answered, Failure> {
        let messages = question.chat.iter().map(|(role, text)| json!({ "role": role, "content": text }));
        let body = Map::from_iter([
            ("messages".to_owned(), Value::Array(messages.collect())),
            ("max_tokens".to_owned(), json!(question.answer)),
            ("temperature".to_owned(), json!(1.0)),
            ("seed".to_owned(), json!(question.seed)),
        ]);
        // What the engine counts is what is to be found out: nothing is guarded.
        let call =
            Call { prompt_tokens: 1, ..Call::new(Endpoint::ChatCompletions, self.model, &body, self.set) };
        let start = Instant::now();
        let response = self.engine.run(&call).await?;
        Ok(Answered {
            prompt: response.prompt_tokens.filter(|tokens| *tokens > 0),
            cached: response.cached_tokens,
            answer: response.completion_tokens,
            took: start.elapsed(),
            prompt_time: response.timings.prompt,
        })
    }
}
