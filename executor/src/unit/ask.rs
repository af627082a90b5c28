//! Requests of our own: they belong to no batch, and are as small as they can be.

use caravan_request::Endpoint;
use serde_json::{Map, Value, json};

use super::Unit;
use crate::engine::{Call, Class, Failure, ReloadSet, Response};

/// What is asked where only an answer counts.
pub(crate) const PROBE: &str = "Say yes.";

/// Whether an engine answered, whatever it said.
pub(super) fn is_answer<T>(result: &Result<T, Failure>) -> bool {
    !matches!(result, Err(Failure { class: Class::Down, .. }))
}

// === impl Unit ===

impl Unit {
    /// Whether `model` answers a request for one token, whatever it says.
    pub(super) async fn says_anything(&self, model: &str, set: ReloadSet) -> bool {
        is_answer(&self.ask(model, set, PROBE, 1).await)
    }

    /// Asks for an answer of at most `tokens` tokens. A model that is loaded to embed embeds instead.
    pub(super) async fn ask(
        &self,
        model: &str,
        set: ReloadSet,
        words: &str,
        tokens: u64,
    ) -> Result<Response, Failure> {
        let (endpoint, body) = if set.embedding {
            (Endpoint::OllamaEmbed, json!({ "input": words }))
        } else {
            let messages = json!([{ "role": "user", "content": words }]);
            (Endpoint::OllamaChat, json!({ "messages": messages, "options": { "num_predict": tokens } }))
        };
        let empty = Map::new();
        let body = body.as_object().unwrap_or(&empty);
        // It is Caravan's too.
        let _in_flight = self.traffic.begin(None);
        let call = Call { answer_tokens: tokens, ..Call::new(endpoint, model, body, set) };
        self.engine.run(&call).await
    }
}

/// Prompts that have nothing in common after the first words, so that none finds another's cache.
pub(super) fn counting(from: usize) -> String {
    let first = Value::from(from * 1_000);
    format!("{first}, and so on. Count on from there.")
}
