//! The context guard: an engine that cut the prompt without a word answered another question.

use serde_json::Value;

use super::{Call, Class, Failure};

/// Tokens by which a prompt may be shorter than planned although all of it was read: a template that
/// differs in the marks around messages, a token that only begins a text.
const TEMPLATE: u64 = 32;

/// Fails if the engine counted fewer prompt tokens than the prompt can have.
///
/// The plan's own least tells where it is known: counted with the model's tokenizer, or a lower bound. An
/// eighth and some tokens of a template are allowed for; what an engine cuts is more, as it keeps no more
/// than its context and the plan reserved room for the answer too.
///
/// Otherwise two witnesses have to agree. The words: tokenizers do not join what white space parts, so a
/// prompt has at least as many tokens as words; three quarters of that is the bound, for the
/// rare vocabulary that does join. The plan, where it is known: an estimate may be off, but not
/// by half. A text without spaces has few words and is never failed by them.
///
/// Answers of the assistant count for neither, because templates leave its thoughts out, and images are not
/// text. With `truncate: false` no Ollama since 0.12.6 cuts; older ones, `/v1` and proxies do.
pub(super) fn check(call: &Call<'_>, counted: Option<u64>) -> Result<(), Failure> {
    let Some(counted) = counted else { return Ok(()) };
    let parts = Parts::of(call);
    let least = parts.of_the_rest(call.least_prompt_tokens);
    if counted.saturating_add(TEMPLATE) < least - least / 8 {
        return Err(cut(format!("the engine evaluated {counted} tokens of a prompt of at least {least}")));
    }
    let words = parts.words;
    if counted >= words * 3 / 4 || (call.prompt_tokens > 0 && counted >= call.prompt_tokens / 2) {
        return Ok(());
    }
    Err(cut(format!("the engine evaluated {counted} tokens of a prompt of {words} words")))
}

fn cut(message: String) -> Failure {
    Failure::own(Class::Request, "prompt_truncated", message)
}

/// The text of a prompt.
#[derive(Debug, Default)]
struct Parts {
    /// Words of all but the assistant's answers.
    words: u64,
    /// Bytes of those.
    bytes: u64,
    /// Bytes of the assistant's answers, with what they call.
    answers: u64,
    images: bool,
}

// === impl Parts ===

impl Parts {
    fn of(call: &Call<'_>) -> Self {
        let mut parts = Self::default();
        for message in call.body.get("messages").and_then(Value::as_array).into_iter().flatten() {
            if message["role"] == "assistant" {
                parts.answers += message.to_string().len() as u64;
            } else {
                parts.add(&message["content"]);
                parts.images |= !message["images"].is_null();
            }
        }
        for field in ["system", "prompt"] {
            call.body.get(field).into_iter().for_each(|text| parts.add(text));
        }
        parts.images |= call.body.contains_key("images");
        parts
    }

    fn add(&mut self, content: &Value) {
        match content {
            Value::String(text) => {
                self.words += text.split_whitespace().count() as u64;
                self.bytes += text.len() as u64;
            }
            Value::Array(list) => {
                for part in list {
                    self.images |= part["type"] == "image_url";
                    self.add(&part["text"]);
                }
            }
            _ => {}
        }
    }

    /// Of `tokens`, those of all but the assistant's answers, by bytes; 0 where images are part of them.
    fn of_the_rest(&self, tokens: u64) -> u64 {
        if self.images {
            return 0;
        }
        let share =
            u128::from(tokens) * u128::from(self.bytes) / u128::from((self.bytes + self.answers).max(1));
        u64::try_from(share).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use caravan_request::Endpoint;
    use serde_json::{Map, json};

    use super::*;
    use crate::engine::ReloadSet;

    fn verdict(body: &Value, prompt_tokens: u64, counted: Option<u64>) -> Result<(), Failure> {
        check(&Call { prompt_tokens, ..call(body) }, counted)
    }

    fn call(body: &Value) -> Call<'_> {
        let body: &Map<String, Value> = body.as_object().unwrap();
        let set = ReloadSet { context: 2048, ..ReloadSet::default() };
        Call::new(Endpoint::OllamaChat, "m", body, set)
    }

    #[test]
    fn fails_only_what_cannot_be() {
        let body = json!({ "messages": [
            { "role": "system", "content": "word ".repeat(600) },
            { "role": "user", "content": [{ "type": "text", "text": "word ".repeat(400) }] },
            { "role": "assistant", "content": "word ".repeat(9000) },
        ]});
        assert_eq!(verdict(&body, 1300, Some(649)).unwrap_err().code, "prompt_truncated");
        assert_eq!(verdict(&body, 0, Some(749)).unwrap_err().code, "prompt_truncated");
        assert!(verdict(&body, 1300, Some(750)).is_ok());
        assert!(verdict(&body, 900, Some(450)).is_ok(), "the plan knows better");
        assert!(verdict(&body, 1300, None).is_ok());
    }

    #[test]
    fn never_fails_text_without_spaces() {
        let body = json!({ "prompt": "長".repeat(9000) });
        assert!(verdict(&body, 9000, Some(1)).is_ok());
    }

    fn tight(body: &Value, least_prompt_tokens: u64, counted: u64) -> bool {
        let call = Call { prompt_tokens: least_prompt_tokens, least_prompt_tokens, ..call(body) };
        check(&call, Some(counted)).is_ok()
    }

    #[test]
    fn a_counted_prompt_may_be_shorter_by_its_template_and_not_by_more() {
        let text = json!({ "prompt": "長".repeat(3000) });
        assert!(!tight(&text, 3_000, 2_500) && tight(&text, 3_000, 2_600), "words would not tell");
        assert!(tight(&text, 3_000, 9_000));
        assert!(tight(&text, 40, 3), "a template of its own");
    }

    #[test]
    fn thoughts_and_images_are_no_part_of_it() {
        let thoughts = json!({ "messages": [
            { "role": "user", "content": "x".repeat(1_000) },
            { "role": "assistant", "content": "y".repeat(3_000) },
            { "role": "user", "content": "z".repeat(1_000) },
        ]});
        assert!(tight(&thoughts, 1_000, 400), "the answer was left out");
        assert!(!tight(&thoughts, 1_000, 200));
        let image = json!({ "messages": [
            { "role": "user", "content": "what is it?", "images": ["iVBORw0KGgo="] },
        ]});
        assert!(tight(&image, 2_000, 20));
    }
}
