//! What a chat template adds, counted from what it made of short conversations.

use caravan_proto::v1;
use caravan_tokenize::Tokenizer;

/// The template's own tokens: what a rendered prompt has more than its texts. `begin` is the text of
/// the token that the engine puts before a prompt that does not begin with it. Exact but for tokens
/// that reach over the border of a text, a token or two a message.
///
/// None without the renderings of one question and of one exchange; a template that takes no system
/// message adds nothing for it.
pub(super) fn tokens(
    tokenizer: &dyn Tokenizer,
    begin: Option<&str>,
    renderings: &[v1::Rendering],
) -> Option<v1::TemplateTokens> {
    let added = |roles: &[&str]| {
        let rendering = renderings.iter().find(|rendering| {
            rendering.messages.iter().map(|message| message.role.as_str()).eq(roles.iter().copied())
        })?;
        let mut tokens = signed(tokenizer.count(&rendering.prompt));
        tokens += begin
            .filter(|begin| !rendering.prompt.starts_with(begin))
            .map_or(0, |begin| signed(tokenizer.count(begin)));
        let texts = rendering.messages.iter().map(|message| signed(tokenizer.count(&message.content)));
        Some(tokens - texts.sum::<i64>())
    };
    let conversation = added(&["user"])?;
    let exchange = added(&["user", "assistant", "user"])? - conversation;
    let system = added(&["system", "user"]).map_or(0, |added| added - conversation);
    Some(v1::TemplateTokens { conversation, system, exchange })
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A token a character.
    struct Characters;

    impl Tokenizer for Characters {
        fn count(&self, text: &str) -> u64 {
            text.chars().count() as u64
        }

        fn encode(&self, text: &str) -> Vec<u32> {
            text.chars().map(u32::from).collect()
        }
    }

    fn rendering(chat: &[(&str, &str)], prompt: &str) -> v1::Rendering {
        let messages = chat
            .iter()
            .map(|(role, content)| v1::RenderedMessage { role: (*role).into(), content: (*content).into() });
        v1::Rendering { messages: messages.collect(), prompt: prompt.into() }
    }

    #[test]
    fn counts_what_is_not_text() {
        let mut renderings = vec![
            rendering(&[("user", "hi")], "<hi>="),
            rendering(&[("system", "s"), ("user", "hi")], "[s]<hi>="),
            rendering(&[("user", "hi"), ("assistant", "oh"), ("user", "hi")], "<hi>=oh.<hi>="),
        ];
        let expected = v1::TemplateTokens { conversation: 3, system: 2, exchange: 4 };
        assert_eq!(tokens(&Characters, None, &renderings), Some(expected));
        let begun = v1::TemplateTokens { conversation: 4, ..expected };
        assert_eq!(tokens(&Characters, Some("^"), &renderings), Some(begun));
        assert_eq!(tokens(&Characters, Some("<"), &renderings[..1]), None);
        renderings.remove(1);
        let without = v1::TemplateTokens { system: 0, ..expected };
        assert_eq!(tokens(&Characters, None, &renderings), Some(without));
    }
}
