//! Tokens of one request, each number labelled measured or estimated.

use caravan_proto::v1::{Basis, Usage};
use serde_json::{Map, Value};

use crate::engine::Response;

/// What a lane's slot holds in its cache, as far as the lane can know: the last prompt
/// and the answer to it. One prompt's text a lane.
#[derive(Debug, Default)]
pub(crate) struct Warm {
    model: String,
    text: String,
}

// === impl Warm ===

impl Warm {
    /// The slot holds this prompt and answer now.
    pub(crate) fn remember(&mut self, model: &str, prompt: String, answer: &str) {
        model.clone_into(&mut self.model);
        self.text = prompt;
        // The answer as the next turn of a growing chat would bring it.
        self.text.push('\n');
        self.text.push_str(answer);
    }

    /// The slot's cache is gone: reloaded, or its engine died.
    pub(crate) fn forget(&mut self) {
        self.text.clear();
    }

    /// Of the `tokens` of `prompt`, those that the slot holds already: an estimate.
    pub(crate) fn shared(&self, model: &str, prompt: &str, tokens: u64) -> u64 {
        if self.model == model { scaled_prefix(&self.text, prompt, tokens) } else { 0 }
    }
}

/// `tokens` of `prompt` scaled to the share of its bytes that `before` begins with as
/// well, rounded down. At least one token is always evaluated.
fn scaled_prefix(before: &str, prompt: &str, tokens: u64) -> u64 {
    let common = before.bytes().zip(prompt.bytes()).take_while(|(a, b)| a == b).count();
    let share = u128::from(tokens) * common as u128 / prompt.len().max(1) as u128;
    u64::try_from(share).unwrap_or(0).min(tokens.saturating_sub(1))
}

/// The prompt of a body as text, message by message, for comparing one with the next.
/// Not the model's template: good enough for where two prompts part.
pub(crate) fn prompt_text(body: &Map<String, Value>) -> String {
    let mut text = String::new();
    for field in ["system", "prompt", "suffix", "input"] {
        append(&mut text, body.get(field));
    }
    for message in body.get("messages").and_then(Value::as_array).into_iter().flatten() {
        append(&mut text, message.get("content"));
    }
    text
}

fn append(text: &mut String, value: Option<&Value>) {
    let Some(value) = value else { return };
    if !text.is_empty() {
        text.push('\n');
    }
    match value {
        Value::String(s) => text.push_str(s),
        other => text.push_str(&other.to_string()),
    }
}

/// Usage of an answered request. `planned` prompt tokens stand in where the engine does not count, and
/// the `shared` ones that its slot should hold where it does not tell of its cache; both labelled estimated.
pub(crate) fn of(response: &Response, planned: u64, shared: u64) -> Usage {
    let (prompt_tokens, prompt_basis) = match response.prompt_tokens {
        Some(tokens) => (tokens, Basis::Measured),
        None => (planned, Basis::Estimated),
    };
    let (cached, cache_basis) = match response.cached_tokens {
        Some(cached) => (cached.min(prompt_tokens), Basis::Measured),
        None => (shared.min(prompt_tokens), Basis::Estimated),
    };
    let signed = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
    Usage {
        prompt_tokens: signed(prompt_tokens),
        prompt_basis: prompt_basis.into(),
        evaluated_tokens: signed(prompt_tokens - cached),
        cached_tokens: signed(cached),
        cache_basis: cache_basis.into(),
        completion_tokens: signed(response.completion_tokens.unwrap_or(0)),
    }
}

/// Both together, where there was one before. A basis is measured only if both are.
pub(crate) fn sum(usage: Usage, before: Option<Usage>) -> Usage {
    let Some(before) = before else { return usage };
    let basis = |one: Basis, other: Basis| if one == other { one } else { Basis::Estimated };
    Usage {
        prompt_tokens: usage.prompt_tokens.saturating_add(before.prompt_tokens),
        prompt_basis: basis(usage.prompt_basis(), before.prompt_basis()).into(),
        evaluated_tokens: usage.evaluated_tokens.saturating_add(before.evaluated_tokens),
        cached_tokens: usage.cached_tokens.saturating_add(before.cached_tokens),
        cache_basis: basis(usage.cache_basis(), before.cache_basis()).into(),
        completion_tokens: usage.completion_tokens.saturating_add(before.completion_tokens),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn response(prompt: Option<u64>, cached: Option<u64>) -> Response {
        Response {
            status: 200,
            body: json!({}),
            text: "ok".into(),
            prompt_tokens: prompt,
            cached_tokens: cached,
            completion_tokens: Some(3),
            length_limited: false,
            timings: Default::default(),
        }
    }

    #[test]
    fn the_shared_prefix_is_scaled_to_tokens() {
        assert_eq!(scaled_prefix("", "abcdefghij", 10), 0);
        assert_eq!(scaled_prefix("abcdexxxxx", "abcdefghij", 10), 5);
        assert_eq!(scaled_prefix("abcdefghij", "abcdefghij", 10), 9, "one token is always evaluated");
        assert_eq!(scaled_prefix("a", "", 0), 0);
    }

    #[test]
    fn measured_numbers_win_and_estimates_are_labelled() {
        let measured = of(&response(Some(10), Some(4)), 99, 5);
        assert_eq!((measured.cached_tokens, measured.evaluated_tokens), (4, 6));
        assert_eq!(measured.cache_basis(), Basis::Measured);

        let estimated = of(&response(Some(10), None), 99, 5);
        assert_eq!((estimated.cached_tokens, estimated.evaluated_tokens), (5, 5));
        assert_eq!((estimated.prompt_basis(), estimated.cache_basis()), (Basis::Measured, Basis::Estimated));

        let planned = of(&response(None, None), 99, 0);
        assert_eq!((planned.prompt_tokens, planned.cached_tokens), (99, 0));
        assert_eq!(planned.prompt_basis(), Basis::Estimated);
    }

    #[test]
    fn another_model_shares_nothing() {
        let mut warm = Warm::default();
        warm.remember("m", "abcde".into(), "x");
        assert_eq!((warm.shared("m", "abcdefghij", 10), warm.shared("other", "abcdefghij", 10)), (5, 0));
    }

    #[test]
    fn a_growing_chat_finds_its_last_answer_again() {
        let first = json!({"messages": [{"role": "user", "content": "one"}]});
        let second = json!({"messages": [
            {"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}, {"role": "user", "content": "3"}]});
        let mut warm = Warm::default();
        warm.remember("m", prompt_text(first.as_object().unwrap()), "two");
        let prompt = prompt_text(second.as_object().unwrap());
        assert_eq!(warm.shared("m", &prompt, 9), 7, "{prompt:?}");
        warm.forget();
        assert_eq!(warm.shared("m", &prompt, 9), 0);
    }
}
