/// Characters that some token has before a `▁`. Before any other space no token reaches across it,
/// so that the text may be cut there without changing its tokens.
pub(crate) struct Breaks(Vec<char>);

// === impl Breaks ===

impl Breaks {
    /// Of all texts that may come out of joining.
    pub(crate) fn new<'t>(tokens: impl Iterator<Item = &'t str>) -> Self {
        let mut before = Vec::new();
        for text in tokens {
            let pairs = text.chars().zip(text.chars().skip(1));
            before.extend(pairs.filter(|(_, second)| *second == '▁').map(|(first, _)| first));
        }
        before.sort_unstable();
        before.dedup();
        Self(before)
    }

    /// Hand out the words of a text, each with the spaces before it, where cutting changes nothing;
    /// `prefixed` if a space will be put before the first.
    pub(crate) fn split(&self, text: &str, space: char, prefixed: bool, emit: &mut dyn FnMut(&str)) {
        let mut start = 0;
        for (at, _) in text.match_indices(space) {
            let before = text[..at].chars().next_back().or(prefixed.then_some(space));
            let escaped = before.map(|before| if before == space { '▁' } else { before });
            if at > start && escaped.is_some_and(|before| self.0.binary_search(&before).is_err()) {
                emit(&text[start..at]);
                start = at;
            }
        }
        if start < text.len() {
            emit(&text[start..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(tokens: &[&str], text: &str) -> Vec<String> {
        let mut words = Vec::new();
        Breaks::new(tokens.iter().copied()).split(text, ' ', false, &mut |word| words.push(word.to_owned()));
        words
    }

    #[test]
    fn a_text_is_cut_where_no_token_reaches_across() {
        assert_eq!(words(&["▁a"], "a b  c"), ["a", " b", " ", " c"]);
        assert_eq!(words(&["▁a", "▁▁"], " a b  c "), [" a", " b", "  c", " "]);
        assert_eq!(words(&["b▁c"], "a b c▁ d"), ["a", " b c▁", " d"]);
        assert_eq!(words(&["▁▁"], "c▁ d"), ["c▁ d"]);
        assert_eq!(words(&["a"], ""), [""; 0]);
    }
}
