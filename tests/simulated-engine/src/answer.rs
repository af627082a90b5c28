//! Answers: a function of the question, so that a test can tell whose answer it holds.

use crate::tokens::hash;

/// The word with which the answer to `question` (the text of the last user message, or the prompt of
/// `/api/generate`) begins; also the value of every string in a structured answer to it.
pub fn answer_for(question: &str) -> String {
    format!("answer-{:016x}", hash(question.as_bytes()))
}

/// `words` words that begin with `answer_for(question)`.
pub(crate) fn text(question: &str, words: usize) -> String {
    let mut text = answer_for(question);
    text.reserve(words * 6);
    for position in 1..words {
        text.push_str(" word");
        text.push_str(&(position % 10).to_string());
    }
    text
}

/// Puts a word that depends on `chance` in the place of the last one, unless that is the first.
pub(crate) fn vary(text: &mut String, chance: u64) {
    if let Some(last) = text.rfind(' ') {
        text.truncate(last);
        text.push_str(&format!(" chance{chance:x}"));
    }
}

/// Cuts `text` before the first stop string in it; true if there was one.
pub(crate) fn stop_at(text: &mut String, stops: &[String]) -> bool {
    let end = stops.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| text.find(stop.as_str())).min();
    if let Some(end) = end {
        text.truncate(end);
    }
    end.is_some()
}

/// The first `words` words of `text`.
pub(crate) fn cut(text: &mut String, words: usize) {
    let mut rest = text.as_str();
    for _ in 0..words {
        rest = rest.trim_ascii_start();
        rest = &rest[rest.find(|c: char| c.is_ascii_whitespace()).unwrap_or(rest.len())..];
    }
    let end = text.len() - rest.len();
    text.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::count_tokens;

    #[test]
    fn an_answer_names_its_question_and_has_its_length() {
        let answer = text("What colour is it?", 300);
        assert!(answer.starts_with(&answer_for("What colour is it?")));
        assert_ne!(answer_for("What colour is it?"), answer_for("What colour is it"));
        assert_eq!(count_tokens(&answer), 300);
    }

    #[test]
    fn the_hash_never_changes() {
        assert_eq!(answer_for("hello"), answer_for("hello"));
        assert_eq!(answer_for("").len(), "answer-".len() + 16);
    }

    #[test]
    fn what_varies_is_not_whose_answer_it_is() {
        let varied = |chance| {
            let mut answer = text("hello", 3);
            vary(&mut answer, chance);
            answer
        };
        assert_ne!(varied(1), varied(2));
        assert!(varied(1).starts_with(&answer_for("hello")) && count_tokens(&varied(1)) == 3);
    }

    #[test]
    fn cuts_at_words_and_stops() {
        let mut cut_text = "one two  three".to_owned();
        cut(&mut cut_text, 2);
        assert_eq!(cut_text, "one two");
        let mut stopped = "one two three".to_owned();
        assert!(stop_at(&mut stopped, &["three".into(), " t".into()]));
        assert_eq!(stopped, "one");
    }
}
