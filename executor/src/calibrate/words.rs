//! Texts for prompts: of about so many tokens, and no two alike, so that no cache has seen them.

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

/// Common words, most of which are one token in most vocabularies.
const WORDS: [&str; 64] = [
    "time",
    "year",
    "people",
    "way",
    "day",
    "man",
    "thing",
    "woman",
    "life",
    "child",
    "world",
    "school",
    "state",
    "family",
    "student",
    "group",
    "country",
    "problem",
    "hand",
    "part",
    "place",
    "case",
    "week",
    "company",
    "system",
    "program",
    "question",
    "work",
    "government",
    "number",
    "night",
    "point",
    "home",
    "water",
    "room",
    "mother",
    "area",
    "money",
    "story",
    "fact",
    "month",
    "lot",
    "right",
    "study",
    "book",
    "eye",
    "job",
    "word",
    "business",
    "issue",
    "side",
    "kind",
    "head",
    "house",
    "service",
    "friend",
    "father",
    "power",
    "hour",
    "game",
    "line",
    "end",
    "member",
    "law",
];

/// Keeps an answer going: an instructed model writes until its limit, any other one goes on anyway.
const TASK: &str = "\n\nIgnore the words above. Count from one to ten thousand in words, one a line, without a \
                    pause and without a comment.\n\none\ntwo\nthree";

/// Makes texts.
#[derive(Debug)]
pub(crate) struct Words {
    random: StdRng,
    tokens_per_word: f64,
}

// === impl Words ===

impl Words {
    /// Other texts for every `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed), tokens_per_word: 1.0 }
    }

    /// A maker of other texts that knows as much.
    pub(crate) fn another(&mut self) -> Self {
        Self { random: StdRng::seed_from_u64(self.random.random()), tokens_per_word: self.tokens_per_word }
    }

    /// A text of so many words came to so many tokens.
    pub(crate) fn learn(&mut self, words: u64, tokens: u64) {
        let ratio = tokens as f64 / words.max(1) as f64;
        // A template that drops the text, or a count of something else, teaches nothing.
        if (0.5..=8.0).contains(&ratio) {
            self.tokens_per_word = ratio;
        }
    }

    /// A text of about `tokens` tokens, at least one word.
    pub(crate) fn text(&mut self, tokens: u64) -> String {
        let words = ((tokens as f64 / self.tokens_per_word) as u64).max(1);
        self.words(words)
    }

    /// A text of so many words.
    pub(crate) fn words(&mut self, words: u64) -> String {
        let mut text = String::new();
        for place in 0..words {
            if place > 0 {
                text.push(' ');
            }
            text.push_str(WORDS[self.random.random_range(0..WORDS.len())]);
        }
        text
    }

    /// The same, ending with a task whose answer does not end early.
    pub(crate) fn task(&mut self, tokens: u64) -> String {
        let task = TASK.split_whitespace().count() as u64;
        let own = self.text(tokens.saturating_sub(task).max(1));
        format!("{own}{TASK}")
    }

    /// A seed for an engine's sampling.
    pub(crate) fn seed(&mut self) -> u32 {
        self.random.random_range(0..u32::MAX >> 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_their_length_and_are_never_alike() {
        let mut words = Words::new(1);
        let (one, other) = (words.text(100), words.text(100));
        assert_eq!([&one, &other].map(|text| text.split(' ').count()), [100, 100]);
        let same = one.split(' ').zip(other.split(' ')).take_while(|(one, other)| one == other).count();
        assert!(same < 10, "{same}");
        words.learn(100, 130);
        assert_eq!(words.text(130).split(' ').count(), 100);
        words.learn(100, 3);
        assert_eq!(words.text(130).split(' ').count(), 100, "what cannot be teaches nothing");
        assert_eq!(words.text(0).split(' ').count(), 1);
    }
}
