use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

/// Half of the words of a text are of these, as in English prose.
const COMMON: [&str; 48] = [
    "the", "of", "and", "to", "a", "in", "that", "it", "is", "was", "for", "on", "are", "with", "as", "at",
    "be", "this", "have", "from", "or", "one", "had", "by", "word", "but", "not", "what", "all", "were",
    "we", "when", "your", "can", "said", "there", "use", "an", "each", "which", "she", "do", "how", "their",
    "if", "will", "up", "about",
];
/// The others are made of these: names, terms, and what a vocabulary does not have whole.
const PARTS: [&str; 40] = [
    "con", "ter", "ing", "ment", "pro", "ly", "an", "re", "tion", "der", "al", "ver", "com", "per", "est",
    "in", "ble", "ter", "mul", "ti", "lo", "ca", "sys", "tem", "graph", "ic", "net", "work", "ser", "vi",
    "ce", "da", "ta", "un", "pack", "age", "li", "bra", "ry", "ex",
];

/// Prose-like text of at least so many bytes and at most a word more; the same for the same seed.
pub(crate) fn text(seed: u64, bytes: usize) -> String {
    let mut chance = StdRng::seed_from_u64(seed);
    let mut text = String::with_capacity(bytes + 16);
    while text.len() < bytes {
        if chance.random_ratio(1, 2) {
            text.push_str(COMMON[chance.random_range(..COMMON.len())]);
        } else {
            for _ in 0..chance.random_range(2..5) {
                text.push_str(PARTS[chance.random_range(..PARTS.len())]);
            }
        }
        text.push_str(if chance.random_ratio(1, 12) { ". " } else { " " });
    }
    text
}
