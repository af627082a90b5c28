/// Bytes of a word that are tokenized in one piece, at most. No word of a language is as long: what
/// is, is filler, or a language without spaces under a tokenizer that cuts at spaces alone.
const MAX_WORD: usize = 64 << 10;

/// The word in pieces of at most 64 KiB: almost always one. Cut where whitespace begins in the last
/// quarter of a piece, else between characters: each cut makes the count wrong by about a token.
pub(crate) fn pieces(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = rest.split_at(cut(rest));
        rest = after;
        Some(piece)
    })
}

fn cut(text: &str) -> usize {
    if text.len() <= MAX_WORD {
        return text.len();
    }
    let end = text.floor_char_boundary(MAX_WORD);
    let tail = &text[text.floor_char_boundary(MAX_WORD / 4 * 3)..end];
    tail.rfind(char::is_whitespace).map_or(end, |at| end - tail.len() + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_bounded_and_make_the_text() {
        for text in ["a".repeat(200_000), "é ".repeat(100_000), "🙂".repeat(50_000), " ".repeat(70_000)] {
            let pieces: Vec<&str> = pieces(&text).collect();
            assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= MAX_WORD));
            assert_eq!(pieces.concat(), text);
        }
        assert_eq!(pieces("").count(), 0);
        assert_eq!(pieces("a b").collect::<Vec<_>>(), ["a b"]);
    }
}
