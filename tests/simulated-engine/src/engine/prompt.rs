//! From messages to a prompt: rendering, and what is cut when it is too long.

use std::sync::Arc;

use crate::options::Options;
use crate::tokens::Chain;

use super::Failure;

/// Roles that the template renders; a message with another one vanishes.
pub(crate) const ROLES: [&str; 4] = ["system", "user", "assistant", "tool"];
/// Tokens kept at the front of a prompt that is cut in its middle (`num_keep`).
const KEEP: usize = 4;

/// One message of a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) role: String,
    pub(crate) content: String,
}

/// What is done with a prompt that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Overflow {
    /// Drop the oldest messages, then the middle.
    pub(crate) truncate: bool,
    /// Go on generating past the context's end; also what allows the middle to be dropped.
    pub(crate) shift: bool,
    /// The model has a template of its own: llama-server renders the prompt, and cuts none.
    pub(crate) native: bool,
}

/// A prompt that fits its context.
#[derive(Debug, Clone)]
pub(crate) struct Prompt {
    pub(crate) chain: Arc<Chain>,
    /// Identity and tokens of the system messages it begins with.
    pub(crate) system: Option<(u64, usize)>,
}

// === impl Prompt ===

impl Prompt {
    /// Renders `messages` for a slot of `context` tokens.
    ///
    /// # Errors
    /// It does not fit and may not be cut.
    pub(crate) fn render(
        options: &Options,
        messages: &[Message],
        context: usize,
        overflow: Overflow,
    ) -> Result<Self, Failure> {
        Self::fitted(options, options.template_tokens, messages, context, overflow)
    }

    /// The text of one prompt, without a template.
    pub(crate) fn raw(
        options: &Options,
        text: &str,
        context: usize,
        overflow: Overflow,
    ) -> Result<Self, Failure> {
        let message = Message { role: "user".into(), content: text.into() };
        Self::fitted(options, 0, &[message], context, overflow)
    }

    pub(crate) fn len(&self) -> usize {
        self.chain.len()
    }

    fn fitted(
        options: &Options,
        template_tokens: usize,
        messages: &[Message],
        context: usize,
        overflow: Overflow,
    ) -> Result<Self, Failure> {
        let mut first = 0;
        let mut prompt = Self::rendered(options, template_tokens, messages, first);
        // llama-server wants room for one token of the answer; the line before it does not.
        let fits = |tokens: usize| if options.is_v0_33() { tokens < context } else { tokens <= context };
        if fits(prompt.len()) {
            return Ok(prompt);
        }
        if !overflow.truncate {
            return Err(Failure::too_long(options.is_v0_33(), prompt.len(), context));
        }
        while !fits(prompt.len()) && first + 1 < messages.len() {
            first += 1;
            prompt = Self::rendered(options, template_tokens, messages, first);
        }
        if !fits(prompt.len()) {
            if overflow.native {
                return Err(Failure::too_long(options.is_v0_33(), prompt.len(), context));
            }
            if !overflow.shift {
                return Err(Failure::cannot_truncate());
            }
            let kept = KEEP.min(context);
            Arc::make_mut(&mut prompt.chain).cut(kept, (context - kept) / 2);
            prompt.system = None;
        }
        Ok(prompt)
    }

    /// Messages from `first` on, and the system messages before it.
    fn rendered(options: &Options, template_tokens: usize, messages: &[Message], first: usize) -> Self {
        let mut chain = Chain::default();
        let mut system = None;
        let mut leading = true;
        for (at, message) in messages.iter().enumerate() {
            let is_system = message.role == "system";
            if (at < first && !is_system) || !ROLES.contains(&message.role.as_str()) {
                continue;
            }
            leading &= is_system;
            chain.role(&message.role, template_tokens);
            chain.text(&message.content, options.tokens_per_word);
            if leading {
                system = Some((chain.id(), chain.len()));
            }
        }
        Self { chain: Arc::new(chain), system }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::text_of;

    fn chat(tokens: &[(&str, usize)]) -> Vec<Message> {
        let message = |(at, (role, tokens)): (usize, &(&str, usize))| Message {
            role: (*role).into(),
            content: text_of(&at.to_string(), *tokens),
        };
        tokens.iter().enumerate().map(message).collect()
    }

    fn render(messages: &[Message], truncate: bool, shift: bool) -> Result<Prompt, Failure> {
        Prompt::render(&Options::default(), messages, 1_000, Overflow { truncate, shift, native: false })
    }

    #[test]
    fn counts_every_message_and_knows_its_system_prompt() {
        let messages = chat(&[("system", 240), ("user", 60), ("wizard", 500)]);
        let prompt = render(&messages, false, false).unwrap();
        assert_eq!((prompt.len(), prompt.system.unwrap().1), (300, 240));
        let templated = Options { template_tokens: 5, ..Options::default() };
        let overflow = Overflow { truncate: false, shift: false, native: false };
        assert_eq!(Prompt::render(&templated, &messages, 1_000, overflow).unwrap().len(), 310);
    }

    #[test]
    fn too_long_is_refused_with_its_numbers() {
        let failure = render(&chat(&[("user", 1_000)]), false, true).unwrap_err();
        assert_eq!(failure, Failure::too_long(true, 1_000, 1_000));
        assert!(render(&chat(&[("user", 999)]), false, true).is_ok());
    }

    #[test]
    fn old_messages_are_dropped_first_the_system_prompt_stays() {
        let messages = chat(&[("system", 100), ("user", 600), ("assistant", 100), ("user", 400)]);
        let prompt = render(&messages, true, false).unwrap();
        assert_eq!((prompt.len(), prompt.system.unwrap().1), (600, 100));
    }

    #[test]
    fn then_the_middle_if_the_context_may_shift() {
        let messages = chat(&[("user", 5_000)]);
        assert_eq!(render(&messages, true, true).unwrap().len(), 502);
        assert_eq!(render(&messages, true, false).unwrap_err(), Failure::cannot_truncate());
        let native = Overflow { truncate: true, shift: true, native: true };
        let failure = Prompt::render(&Options::default(), &messages, 1_000, native).unwrap_err();
        assert_eq!(failure, Failure::too_long(true, 5_000, 1_000), "llama-server renders, and cuts nothing");
    }
}
