use std::{collections::HashMap, sync::Arc};

use caravan_plan::{BytesPerToken, estimate};
use caravan_proto::v1::TemplateTokens;
use caravan_request::{Endpoint, Outline, Texts, content_hash};
use caravan_tokenize::Tokenizer;

use crate::{intake::Class, vocabularies::Known};

/// Counts prompts of one model.
#[derive(Clone)]
pub(in crate::prepare) struct Counter {
    /// `None` where the vocabulary is not to be had: tokens are then estimated.
    pub(in crate::prepare) tokenizer: Option<Arc<dyn Tokenizer>>,
    /// What the model's template adds, if that is known.
    pub(in crate::prepare) template: Option<TemplateTokens>,
    /// Tokens that the engine puts before a prompt without a template.
    pub(in crate::prepare) begin_tokens: u64,
    /// Tokens of a text, while it cannot be counted.
    pub(in crate::prepare) bytes_per_token: BytesPerToken,
    /// Tokens of an image.
    pub(in crate::prepare) image_tokens: u64,
    /// Whether that was measured on this model.
    pub(in crate::prepare) image_known: bool,
}

/// Texts that were counted before, by a hash of model and text: what requests share is counted once
/// a thread. Forgets all past 16,384 texts; 0.5 MB. Of a million texts, two of one hash are met with a
/// chance of 1 in 10⁸, and then a count is wrong.
#[derive(Debug, Default)]
pub(super) struct Seen(HashMap<u64, u32>);

/// Tokens as counted or as likely, and at least.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) likely: u64,
    pub(super) low: u64,
}

const MOST_SEEN: usize = 16_384;
/// A message's template tokens where the template is not known: those of ChatML, the most common.
const MESSAGE_TOKENS: u64 = 5;

// === impl Counter ===

impl Counter {
    /// Takes in what is known of the model's vocabulary; gives what a person should know of its counts.
    pub(in crate::prepare) fn know(&mut self, model: &str, known: Known) -> Option<String> {
        self.template = self.template.or(known.template);
        self.begin_tokens = known.begin_tokens;
        self.tokenizer = Some(known.tokenizer);
        self.template.is_none().then(|| {
            format!(
                "The template of model {model} is not known before it is loaded: \
                 {MESSAGE_TOKENS} tokens a message are assumed."
            )
        })
    }

    /// The whole prompt; `upto` gets what it comes to at the end of the preamble and of each message.
    pub(super) fn count(
        &self,
        class: &Class,
        outline: &Outline<'_>,
        seen: &mut Seen,
        mut upto: impl FnMut(u64),
    ) -> Count {
        let model = class.model;
        let mut sum = self.texts(model, &outline.preamble, seen);
        upto(sum.likely);
        for message in &outline.messages {
            sum += self.texts(model, &message.texts, seen);
            sum += self.around(message.system);
            upto(sum.likely);
        }
        sum += if class.endpoint.is_embedding() {
            self.inputs(model, &outline.prompt_texts, seen)
        } else {
            self.texts(model, &outline.prompt_texts, seen)
        };
        sum + self.once(class, outline)
    }

    fn texts(&self, model: u32, texts: &Texts, seen: &mut Seen) -> Count {
        let mut sum = Count::exactly(texts.token_ids);
        for text in &texts.texts {
            sum += match &self.tokenizer {
                Some(tokenizer) => Count::exactly(seen.count(model, text, &**tokenizer)),
                None => {
                    let tokens = estimate(text.len() as u64, &self.bytes_per_token);
                    Count { likely: tokens.likely.0, low: tokens.low.0 }
                }
            };
        }
        let images = texts.images * self.image_tokens;
        sum + Count { likely: images, low: if self.image_known { images } else { 0 } }
    }

    /// Inputs are embedded one by one: all take time, and the longest has to fit.
    fn inputs(&self, model: u32, inputs: &Texts, seen: &mut Seen) -> Count {
        let mut all = Count { likely: inputs.token_ids, low: 0 };
        for text in &inputs.texts {
            let one = Texts { texts: vec![text.clone()], ..Texts::default() };
            let one = self.texts(model, &one, seen);
            all = Count { likely: all.likely + one.likely, low: all.low.max(one.low) };
        }
        all
    }

    /// What the template adds around a message: an answer and a user's share theirs evenly.
    fn around(&self, system: bool) -> Count {
        match self.template {
            Some(template) if system => Count::exactly(unsigned(template.system)),
            Some(template) => Count::exactly(unsigned(template.exchange) / 2),
            None => Count { likely: MESSAGE_TOKENS, low: 0 },
        }
    }

    /// What is added once: around a whole chat, to the one message that a prompt of Ollama's becomes, or
    /// before a prompt without a template.
    fn once(&self, class: &Class, outline: &Outline<'_>) -> Count {
        let Some(template) = self.template else { return Count::exactly(self.begin_tokens) };
        let (chat, first) = (unsigned(template.conversation), unsigned(template.exchange) / 2);
        match class.endpoint {
            Endpoint::ChatCompletions | Endpoint::OllamaChat => Count::exactly(chat.saturating_sub(first)),
            Endpoint::OllamaGenerate if !outline.is_raw() => {
                let system = !outline.preamble.texts.is_empty();
                Count::exactly(chat + if system { unsigned(template.system) } else { 0 })
            }
            _ => Count::exactly(self.begin_tokens),
        }
    }
}

// === impl Seen ===

impl Seen {
    fn count(&mut self, model: u32, text: &str, tokenizer: &dyn Tokenizer) -> u64 {
        let key = content_hash(text.as_bytes()) as u64 ^ u64::from(model).rotate_left(32);
        if let Some(tokens) = self.0.get(&key) {
            return u64::from(*tokens);
        }
        let tokens = tokenizer.count(text);
        if self.0.len() >= MOST_SEEN {
            self.0.clear();
        }
        self.0.insert(key, u32::try_from(tokens).unwrap_or(u32::MAX));
        tokens
    }
}

// === impl Count ===

impl Count {
    fn exactly(tokens: u64) -> Self {
        Self { likely: tokens, low: tokens }
    }
}

impl std::ops::Add for Count {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self { likely: self.likely + more.likely, low: self.low + more.low }
    }
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, more: Self) {
        *self = *self + more;
    }
}

fn unsigned(tokens: i64) -> u64 {
    u64::try_from(tokens).unwrap_or_default()
}
