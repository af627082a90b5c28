//! Tokens: one whitespace-separated word is one token (or `tokens_per_word`).

/// Tokens of `text` at one token a word, the default.
pub fn count_tokens(text: &str) -> usize {
    text.split_ascii_whitespace().count()
}

/// A text of exactly `tokens` tokens at one token a word; texts with different tags share no word.
pub fn text_of(tag: &str, tokens: usize) -> String {
    let mut text = String::with_capacity(tokens * (tag.len() + 6));
    for position in 0..tokens {
        if position > 0 {
            text.push(' ');
        }
        text.push_str(tag);
        text.push('-');
        text.push_str(&position.to_string());
    }
    text
}

/// A stable hash of `bytes` (FNV-1a with a final mix): the same in every build, for ever.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let sum = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum: u64, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(sum, 0)
}

/// Folds `next` into `state` (splitmix64's finalizer).
pub(crate) fn mix(state: u64, next: u64) -> u64 {
    let mut z = state.rotate_left(23) ^ next.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A sequence of tokens as the hash of the sequence up to each of them: two chains agree at a position
/// exactly if they agree up to it, so a common prefix is found by bisection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    state: u64,
    positions: Vec<u64>,
}

// === impl Chain ===

impl Chain {
    pub(crate) fn len(&self) -> usize {
        self.positions.len()
    }

    /// Identity of the whole sequence.
    pub(crate) fn id(&self) -> u64 {
        self.state
    }

    /// Starts a message: the role tells messages apart, and costs `template_tokens`.
    pub(crate) fn role(&mut self, role: &str, template_tokens: usize) {
        self.state = mix(self.state, hash(role.as_bytes()));
        for _ in 0..template_tokens {
            self.push(0);
        }
    }

    /// Adds the words of `text`.
    pub(crate) fn text(&mut self, text: &str, tokens_per_word: usize) {
        for word in text.split_ascii_whitespace() {
            let token = hash(word.as_bytes());
            for _ in 0..tokens_per_word {
                self.push(token);
            }
        }
    }

    fn push(&mut self, token: u64) {
        self.state = mix(self.state, token);
        self.positions.push(self.state);
    }

    /// Length of the longest common prefix.
    pub(crate) fn common(&self, other: &Self) -> usize {
        let bound = self.len().min(other.len());
        let (mut low, mut high) = (0, bound);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.positions[middle] == other.positions[middle] {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Forgets all tokens from `len` on.
    pub(crate) fn truncate(&mut self, len: usize) {
        if len < self.len() {
            self.positions.truncate(len);
            self.state = self.positions.last().copied().unwrap_or_default();
        }
    }

    /// Cuts the middle out: the first `head` and the last `tail` tokens stay.
    pub(crate) fn cut(&mut self, head: usize, tail: usize) {
        if head + tail >= self.len() {
            return;
        }
        let tail = self.positions.split_off(self.len() - tail);
        self.truncate(head);
        for token in tail {
            self.push(token);
        }
    }

    /// The tokens as small numbers, as `context` shows them.
    pub(crate) fn ids(&self) -> Vec<u32> {
        self.positions.iter().map(|position| (position & 0x3_ffff) as u32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(parts: &[(&str, &str)]) -> Chain {
        let mut chain = Chain::default();
        for (role, text) in parts {
            chain.role(role, 0);
            chain.text(text, 1);
        }
        chain
    }

    #[test]
    fn a_text_has_exactly_the_tokens_asked_for() {
        for tokens in [0, 1, 600, 2_400] {
            assert_eq!(count_tokens(&text_of("word", tokens)), tokens);
        }
    }

    #[test]
    fn the_common_prefix_is_found_at_every_length() {
        let words = text_of("w", 50);
        let whole = chain(&[("user", &words)]);
        for shared in 0..=50 {
            let other = format!("{} other", words.split(' ').take(shared).collect::<Vec<_>>().join(" "));
            assert_eq!(whole.common(&chain(&[("user", &other)])), shared);
        }
        assert_eq!(whole.common(&whole), 50);
    }

    #[test]
    fn roles_tell_messages_apart_without_a_token() {
        let (one, two) = (chain(&[("system", "a"), ("user", "b")]), chain(&[("user", "a b")]));
        assert_eq!((one.len(), two.len()), (2, 2));
        assert_eq!(one.common(&two), 0);
    }

    #[test]
    fn a_cut_keeps_head_and_tail() {
        let mut cut = chain(&[("user", &text_of("w", 100))]);
        let whole = cut.clone();
        cut.cut(4, 20);
        assert_eq!(cut.len(), 24);
        assert_eq!(cut.common(&whole), 4);
    }
}
