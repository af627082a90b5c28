use memchr::memmem;

use super::Limits;

/// Bytes by which the texts are brought into line again.
const NEEDLE: usize = 32;
/// Bytes that are compared at once.
const STRIDE: usize = 64;

/// How a text relates to a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    /// They begin alike, and nothing is to be gained: they are equal, or go on differently.
    Alike,
    /// They differ in a short span, and are equal again behind it.
    Apart(Apart),
    /// They have little to do with each other.
    Unlike,
}

/// A short span between equal parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Apart {
    /// First byte that differs.
    pub(super) at: usize,
    /// End of the span in the sample.
    pub(super) sample_end: usize,
    /// End of the span in the text.
    pub(super) text_end: usize,
    /// Bytes that are equal behind the span.
    pub(super) equal: usize,
}

/// Compares a text with a sample, in time of their length.
pub(super) fn relate(sample: &[u8], text: &[u8], limits: &Limits) -> Relation {
    let at = equal_length(sample, text);
    let shorter = sample.len().min(text.len());
    if at == shorter {
        return if at >= limits.min_equal { Relation::Alike } else { Relation::Unlike };
    }
    // A little further on they are in line again, or a little further still.
    let found = [NEEDLE, 4 * NEEDLE, limits.max_span]
        .into_iter()
        .filter(|skip| *skip <= limits.max_span)
        .filter_map(|skip| align(sample, text, at, at + skip, limits))
        .find(|apart| apart.equal >= limits.min_equal);
    match found {
        Some(apart) => Relation::Apart(apart),
        None if at >= limits.min_equal && at >= shorter / 2 => Relation::Alike,
        None => Relation::Unlike,
    }
}

/// Looks for what the sample has at `from` in the text, and extends it both ways.
fn align(sample: &[u8], text: &[u8], at: usize, from: usize, limits: &Limits) -> Option<Apart> {
    let needle = sample.get(from..from + NEEDLE)?;
    let end = text.len().min(at + limits.max_span + NEEDLE);
    let found = at + memmem::find(text.get(at..end)?, needle)?;
    let behind = equal_length(sample.get(from..)?, text.get(found..)?);
    let before = (sample.get(at..from)?.iter().rev())
        .zip(text.get(at..found)?.iter().rev())
        .take_while(|(sample, text)| sample == text)
        .count();
    Some(Apart { at, sample_end: from - before, text_end: found - before, equal: before + behind })
}

fn equal_length(a: &[u8], b: &[u8]) -> usize {
    let strides = a.chunks_exact(STRIDE).zip(b.chunks_exact(STRIDE)).take_while(|(a, b)| a == b).count();
    let whole = strides * STRIDE;
    let rest = a.iter().zip(b).skip(whole).take_while(|(a, b)| a == b).count();
    whole + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(bytes: usize) -> String {
        let mut text = String::new();
        for number in 0.. {
            if text.len() >= bytes {
                break;
            }
            text.push_str(&format!("word {number} and "));
        }
        text
    }

    fn related(sample: &str, text: &str) -> Relation {
        relate(sample.as_bytes(), text.as_bytes(), &Limits::default())
    }

    #[test]
    fn finds_the_span() {
        let tail = words(3_000);
        let [a, b] = ["3 Nov", "14 Nov"].map(|day| format!("Today is {day} 2026. {tail}"));
        let Relation::Apart(apart) = related(&a, &b) else { panic!("not apart") };
        assert_eq!((&a[apart.at..apart.sample_end], &b[apart.at..apart.text_end]), ("3", "14"));
        assert_eq!(apart.equal, a.len() - apart.sample_end);
    }

    #[test]
    fn a_question_behind_ends_the_equal_part() {
        let middle = words(2_000);
        let [a, b] =
            [("07:41", "Why?"), ("11:02", "How?")].map(|(time, ask)| format!("{time} {middle}{ask}"));
        let Relation::Apart(apart) = related(&a, &b) else { panic!("not apart") };
        assert_eq!(apart.equal, a.len() - apart.sample_end - "Why?".len());
    }

    #[test]
    fn equal_starts_and_other_texts_are_not_apart() {
        let system = words(2_000);
        assert_eq!(related(&system, &system), Relation::Alike);
        assert_eq!(related(&format!("{system}What is 2+2?"), &format!("{system}And 3?")), Relation::Alike);
        let long = words(400);
        assert_eq!(
            related(&format!("Q: {long}"), &format!("Other: {}", long.to_uppercase())),
            Relation::Unlike
        );
        assert_eq!(related("", "a"), Relation::Unlike);
    }
}
