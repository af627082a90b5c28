//! The engine's tokenizer as a `tokenizer.json`, so that others count exactly what it counts.
//!
//! GGUF allows that file in a model's metadata, under `tokenizer.huggingface.json`; `/api/show`
//! gives it where it is asked to be verbose. Only a text that spells a template's mark out itself
//! is counted otherwise here.

use serde_json::json;

use crate::engine::{Message, ROLES};
use crate::options::Options;

/// What separates words: ASCII's whitespace.
const SPACE: &str = r"[ \t\n\x0C\r]+";
const WORD: &str = r"[^ \t\n\x0C\r]+";

/// A word is `tokens_per_word` tokens, a mark of the template is one.
pub(crate) fn tokenizer_json(options: &Options) -> String {
    let marks = ROLES.iter().zip(1..).map(|(role, id)| {
        json!({"id": id, "content": mark(role), "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true})
    });
    let marks: Vec<_> = marks.collect();
    let each = vec!["w"; options.tokens_per_word].join(" ");
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": marks,
        "normalizer": {"type": "Replace", "pattern": {"Regex": WORD}, "content": each},
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": SPACE}, "behavior": "Removed", "invert": false},
        "post_processor": null,
        "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"<unk>": 0}, "unk_token": "<unk>"},
    })
    .to_string()
}

/// The prompt that the template makes of a chat: before each message as many marks as the template
/// takes tokens. Messages of roles that it does not know vanish.
pub(crate) fn rendered(options: &Options, messages: &[Message]) -> String {
    let known = messages.iter().filter(|message| ROLES.contains(&message.role.as_str()));
    let each = known.map(|message| {
        format!("{}{}\n", mark(&message.role).repeat(options.template_tokens), message.content)
    });
    each.collect()
}

fn mark(role: &str) -> String {
    format!("<|{role}|>")
}

#[cfg(test)]
mod tests {
    use caravan_tokenize::{Definition, build};

    use super::*;
    use crate::engine::{Overflow, Prompt};
    use crate::tokens::text_of;

    #[test]
    fn others_count_what_the_engine_counts() {
        let texts = [
            String::new(),
            " ".into(),
            "one".into(),
            " one, two;\tthree-four\r\n\r\n five ".into(),
            "no\u{a0}break \u{b}tab\u{c}feed \u{2003}wide 語 🙂🙂 e\u{301} <unk> w".into(),
            text_of("s", 2_400),
            // Longer than what is tokenized in one piece.
            text_of("a-rather-long-word", 9_000),
        ];
        for (template_tokens, tokens_per_word) in [(0, 1), (5, 1), (3, 4)] {
            let options = Options { template_tokens, tokens_per_word, ..Options::default() };
            let tokenizer = build(&Definition::TokenizerJson(tokenizer_json(&options))).unwrap();
            let mut chat = Vec::new();
            for (text, role) in texts.iter().zip(["system", "user", "wizard", "assistant"].iter().cycle()) {
                let overflow = Overflow { truncate: false, shift: false, native: false };
                let raw = Prompt::raw(&options, text, 1 << 20, overflow).unwrap();
                assert_eq!(tokenizer.count(text), raw.len() as u64, "{text}");
                chat.push(Message { role: (*role).into(), content: text.clone() });
                let prompt = Prompt::render(&options, &chat, 1 << 20, overflow).unwrap();
                assert_eq!(tokenizer.count(&rendered(&options, &chat)), prompt.len() as u64);
            }
        }
    }
}
