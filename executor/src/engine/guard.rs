//! The context guard: an engine that cut the prompt without a word answered another question.

use serde_json::Value;

use super::{Call, Class, Failure};

/// Fails if the engine counted fewer prompt tokens than the prompt can have.
///
/// Two witnesses have to agree. The words: tokenizers do not join what white space parts, so a
/// prompt has at least as many tokens as words; three quarters of that is the bound, for the
/// rare vocabulary that does join. The plan, where it is known: an estimate may be off, but not
/// by half. Answers of the assistant are not counted as words, because templates leave its
/// thoughts out. A text without spaces has few words and is never failed. With
/// `truncate: false` no Ollama since 0.12.6 cuts; older ones, `/v1` and proxies do.
pub(super) fn check(call: &Call<'_>, counted: Option<u64>) -> Result<(), Failure> {
    let Some(counted) = counted else { return Ok(()) };
    let words = words(call);
    if counted >= words * 3 / 4 || (call.prompt_tokens > 0 && counted >= call.prompt_tokens / 2) {
        return Ok(());
    }
    let message = format!("the engine evaluated {counted} tokens of a prompt of {words} words");
    Err(Failure::own(Class::Request, "prompt_truncated", message))
}

fn words(call: &Call<'_>) -> u64 {
    let messages = call.body.get("messages").and_then(Value::as_array).into_iter().flatten();
    let contents =
        messages.filter(|message| message["role"] != "assistant").map(|message| &message["content"]);
    let others = ["system", "prompt"].into_iter().filter_map(|field| call.body.get(field));
    contents.chain(others).map(words_of).sum()
}

fn words_of(content: &Value) -> u64 {
    match content {
        Value::String(text) => text.split_whitespace().count() as u64,
        Value::Array(parts) => parts.iter().map(|part| words_of(&part["text"])).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use caravan_request::Endpoint;
    use serde_json::{Map, json};

    use super::*;
    use crate::engine::ReloadSet;

    fn verdict(body: &Value, prompt_tokens: u64, counted: Option<u64>) -> Result<(), Failure> {
        let body: &Map<String, Value> = body.as_object().unwrap();
        let set = ReloadSet { context: 2048, ..ReloadSet::default() };
        let endpoint = Endpoint::OllamaChat;
        check(&Call { endpoint, model: "m", body, set, prompt_tokens, answer_tokens: 0 }, counted)
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
}
