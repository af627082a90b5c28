use caravan_prefix::{Path, Step};
use caravan_request::Outline;

/// What of requests may be shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Any beginning of the prompt.
    Prefix,
    /// All messages but the last, or nothing: what a conversation begins with.
    Opening,
    /// Nothing beyond the model: embeddings.
    Nothing,
}

/// Makes the path of one request after the other, the same in both readings of an input.
#[derive(Debug, Default)]
pub struct Paths {
    path: Path,
    key: Vec<u8>,
}

// === impl Paths ===

impl Paths {
    /// The steps of a request of `class`, a number for model, endpoint and kinds of engine.
    pub fn of(&mut self, class: u32, outline: &Outline<'_>, sharing: Sharing) -> &[Step] {
        let leading = leading(outline);
        self.key.clear();
        self.key.extend_from_slice(&class.to_le_bytes());
        self.key.extend_from_slice(outline.head.as_bytes());
        if sharing == Sharing::Opening {
            for message in outline.messages.iter().take(leading) {
                // JSON has no such byte: what follows it is another message.
                self.key.push(0);
                self.key.extend_from_slice(message.raw.as_bytes());
            }
        }
        let preamble = u32::try_from(outline.preamble.bytes()).unwrap_or(u32::MAX);
        self.path.begin(&self.key, preamble);
        if sharing == Sharing::Prefix {
            for message in outline.messages.iter().take(leading) {
                self.path.message(message.raw.as_bytes());
            }
            // The last message stays a request's own, however much of it is shared.
            let last = outline.messages.last().map_or(outline.prompt, |message| message.raw);
            self.path.text(last.as_bytes());
        }
        self.path.steps()
    }
}

/// Messages before the last.
#[must_use]
pub fn leading(outline: &Outline<'_>) -> usize {
    outline.messages.len().saturating_sub(1)
}
