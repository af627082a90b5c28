//! The growing chat of a chunk under the conversation strategy.

use caravan_proto::v1::PayloadRequest;
use serde_json::{Map, Value, json};

/// The exchanges of one chat so far. Only answered requests are in it: a failed
/// exchange leaves no trace, and neither does one without text (a tool call), because
/// a user's message without the assistant's would break the turns.
#[derive(Debug, Default)]
pub(crate) struct Conversation {
    exchanges: Vec<Value>,
    /// Tokens of the last prompt, as the engine counted them, else as expected.
    prompt: u64,
    /// Tokens of the answer to it.
    answer: u64,
    restarts: u32,
}

/// Prompt tokens to expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prompt {
    /// Likely.
    pub(crate) tokens: u64,
    /// At the least; 0 if not known.
    pub(crate) least: u64,
}

// === impl Conversation ===

impl Conversation {
    /// How often it began anew because the context was full.
    pub(crate) fn restarts(&self) -> u32 {
        self.restarts
    }

    /// Whether no exchange is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.exchanges.is_empty()
    }

    /// Begins anew from the shared prompt.
    pub(crate) fn restart(&mut self) {
        self.exchanges.clear();
        (self.prompt, self.answer) = (0, 0);
        self.restarts += 1;
    }

    /// Prompt tokens to expect for `request`: what the engine counted so far and the
    /// request's own part as planned; the plan alone at the start. A template may leave
    /// something of an answer out, so the least is without the last one.
    pub(crate) fn expect(&self, request: &PayloadRequest, prefix_tokens: i64) -> Prompt {
        let unsigned = |tokens: i64| u64::try_from(tokens).unwrap_or(0);
        let planned =
            Prompt { tokens: unsigned(request.prompt_tokens), least: unsigned(request.prompt_tokens_low) };
        if self.is_empty() {
            return planned;
        }
        let own = |planned: u64| planned.saturating_sub(unsigned(prefix_tokens));
        Prompt {
            tokens: self.prompt + self.answer + own(planned.tokens),
            least: self.prompt + own(planned.least),
        }
    }

    /// Puts the exchanges so far between the shared leading messages and the request's own.
    pub(crate) fn weave(&self, body: &mut Map<String, Value>, shared_messages: usize) {
        if let Some(Value::Array(messages)) = body.get_mut("messages") {
            let at = shared_messages.min(messages.len());
            messages.splice(at..at, self.exchanges.iter().cloned());
        }
    }

    /// Takes up a successful exchange: the request's own messages of `body` (as woven),
    /// and the answer, with the tokens of both.
    pub(crate) fn push(
        &mut self,
        body: &Map<String, Value>,
        shared_messages: usize,
        text: &str,
        (prompt, answer): (u64, u64),
    ) {
        if text.is_empty() {
            return;
        }
        let messages = body.get("messages").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let own = messages.get(shared_messages + self.exchanges.len()..).unwrap_or_default().to_vec();
        self.exchanges.extend(own);
        self.exchanges.push(json!({"role": "assistant", "content": text}));
        (self.prompt, self.answer) = (prompt, answer);
    }
}

/// Number of leading messages in the shared part of a chunk.
pub(crate) fn shared_messages(shared: &str) -> usize {
    let shared: Value = serde_json::from_str(shared).unwrap_or_default();
    shared["messages"].as_array().map_or(0, Vec::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(own: &str) -> Map<String, Value> {
        let messages = json!([{"role": "system", "content": "s"}, {"role": "user", "content": own}]);
        Map::from_iter([("messages".to_owned(), messages)])
    }

    fn contents(body: &Map<String, Value>) -> Vec<&str> {
        body["messages"].as_array().unwrap().iter().map(|m| m["content"].as_str().unwrap()).collect()
    }

    #[test]
    fn exchanges_stand_between_the_shared_messages_and_the_requests_own() {
        let mut chat = Conversation::default();
        let mut first = body("a");
        chat.weave(&mut first, 1);
        assert_eq!(contents(&first), ["s", "a"]);
        chat.push(&first, 1, "A", (8, 2));

        let mut second = body("b");
        chat.weave(&mut second, 1);
        assert_eq!(contents(&second), ["s", "a", "A", "b"]);
        chat.push(&second, 1, "B", (18, 2));

        let mut third = body("c");
        chat.weave(&mut third, 1);
        assert_eq!(contents(&third), ["s", "a", "A", "b", "B", "c"]);
    }

    #[test]
    fn a_restart_keeps_only_the_shared_messages() {
        let mut chat = Conversation::default();
        chat.push(&body("a"), 1, "A", (8, 2));
        chat.restart();
        let mut next = body("b");
        chat.weave(&mut next, 1);
        assert_eq!(contents(&next), ["s", "b"]);
        assert_eq!(chat.restarts(), 1);
    }

    #[test]
    fn an_exchange_without_text_leaves_no_trace() {
        let mut chat = Conversation::default();
        chat.push(&body("a"), 1, "", (8, 2));
        assert!(chat.is_empty());
    }

    #[test]
    fn expected_prompt_grows_with_the_chat() {
        let request = PayloadRequest { prompt_tokens: 130, prompt_tokens_low: 120, ..Default::default() };
        let mut chat = Conversation::default();
        assert_eq!(chat.expect(&request, 100), Prompt { tokens: 130, least: 120 });
        chat.push(&body("a"), 1, "A", (140, 10));
        assert_eq!(chat.expect(&request, 100), Prompt { tokens: 180, least: 160 });
        chat.restart();
        assert_eq!(chat.expect(&request, 100), Prompt { tokens: 130, least: 120 });
    }

    #[test]
    fn shared_messages_are_counted() {
        assert_eq!(shared_messages(r#"{"messages":[{},{}]}"#), 2);
        assert_eq!(shared_messages(r#"{"model":"m"}"#), 0);
    }
}
