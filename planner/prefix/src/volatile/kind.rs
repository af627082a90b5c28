/// What a volatile part looks like; a guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A date, a time, or a Unix timestamp.
    DateTime,
    /// A UUID or another id of hexadecimal or mixed characters.
    Id,
    /// A number.
    Number,
    /// Something else.
    Other,
}

/// Bytes beside a difference that are looked at.
const AROUND: usize = 40;
/// Words beside the one that differs: `24 November 2026`, `Tue, Nov 24`.
const NEIGHBOURS: usize = 2;
/// Digits of an id, at least.
const ID_LENGTH: usize = 8;
/// A name counts from so many letters on: `Nov`, `Sept`.
const SHORT_NAME: usize = 3;
const NAMES: [&str; 19] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];

// === impl Kind ===

impl Kind {
    /// Guesses from the words around the byte `at` of `text`.
    pub(super) fn guess(text: &[u8], at: usize) -> Self {
        let from = at.saturating_sub(AROUND);
        let near = text.get(from..text.len().min(at + AROUND)).unwrap_or_default();
        let near = String::from_utf8_lossy(near).to_lowercase();
        // Line ends of JSON text are no letters of the word behind them.
        let near = near.replace("\\n", "  ").replace("\\t", "  ");
        let at = text.get(from..at).map_or(0, |before| String::from_utf8_lossy(before).to_lowercase().len());
        let words: Vec<(usize, &str)> = words(&near).collect();
        let index = words.iter().rposition(|(begin, _)| *begin <= at).unwrap_or_default();
        let word = words.get(index).map_or("", |(_, word)| *word);
        let digits = |word: &str| word.bytes().any(|byte| byte.is_ascii_digit());
        let near = words.iter().skip(index.saturating_sub(NEIGHBOURS)).take(2 * NEIGHBOURS + 1);
        let near: Vec<&str> = near.map(|(_, word)| *word).collect();
        if is_id(word) {
            Self::Id
        } else if is_date(word)
            || near.iter().any(|word| is_name(word)) && near.iter().any(|word| digits(word))
        {
            Self::DateTime
        } else if digits(word) && !word.bytes().any(|byte| byte.is_ascii_alphabetic()) {
            Self::Number
        } else {
            Self::Other
        }
    }
}

/// Words with where they begin; what holds dates and ids together belongs to them.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let parts = text.split(|c: char| !c.is_ascii_alphanumeric() && !"-:./+_".contains(c));
    let placed = parts.map(|word| ((word.as_ptr() as usize).saturating_sub(text.as_ptr() as usize), word));
    placed
        .map(|(begin, word)| (begin, word.trim_end_matches(['.', ':', '-', '/'])))
        .filter(|(_, w)| !w.is_empty())
}

/// Digits in groups of at most four, held together as in a date or a time; or a Unix timestamp
/// of seconds or milliseconds.
fn is_date(word: &str) -> bool {
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if is_digits(word) {
        return matches!(word.len(), 10 | 13) && word.starts_with('1');
    }
    let first = word.split(['t', '+', 'z']).find(|part| !part.is_empty()).unwrap_or_default();
    let groups = |text: &str, separator: char| {
        let all = text.split(separator).all(|group| is_digits(group) && group.len() <= 4);
        if all { text.split(separator).count() } else { 0 }
    };
    if first.contains(':') {
        // A time may have a fraction of a second.
        let whole = first.split('.').next().unwrap_or_default();
        return matches!(groups(whole, ':'), 2 | 3);
    }
    ['-', '/', '.'].into_iter().any(|separator| groups(first, separator) == 3)
}

fn is_name(word: &str) -> bool {
    word.len() >= SHORT_NAME && NAMES.iter().any(|name| name.starts_with(word))
}

/// Hexadecimal with digits and letters, or letters and digits mixed all over, of some length.
fn is_id(word: &str) -> bool {
    let bare: Vec<u8> = word.bytes().filter(|byte| !b"-_".contains(byte)).collect();
    let digits = bare.iter().filter(|byte| byte.is_ascii_digit()).count();
    let hex = bare.iter().all(u8::is_ascii_hexdigit);
    let plain = bare.iter().all(u8::is_ascii_alphanumeric);
    let mixed = digits > 0 && digits < bare.len();
    mixed
        && (hex && bare.len() >= ID_LENGTH
            || plain && digits >= 4 && bare.len() >= 2 * ID_LENGTH && !word.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses() {
        for (text, part, kind) in [
            ("Today is 2026-11-24.", "24", Kind::DateTime),
            ("now: 2026-11-24T09:15:02.123Z |", "15:", Kind::DateTime),
            ("It is 07:41 in Rome", "41", Kind::DateTime),
            ("Date: 11/24/2026, system", "24", Kind::DateTime),
            ("on 24 November 2026 we", "24", Kind::DateTime),
            ("on Tue, Nov 24 we", "24", Kind::DateTime),
            ("ts=1764000000 go", "4000", Kind::DateTime),
            ("session 6f9619ff-8b86-d011-b42d-00c04fc964ff.", "d011", Kind::Id),
            ("id: 01ARZ3NDEKTSV4RRFFQ69G5FAV go", "NDEK", Kind::Id),
            ("request 123 of", "23", Kind::Number),
            ("price 12.50 of", "50", Kind::Number),
            ("Dear Anna, you", "nna", Kind::Other),
            ("The maybe of 3 months", "ybe", Kind::Other),
            (r"Today:\n2026-11-24\nYou", "24", Kind::DateTime),
            ("at 09:15:02.123 we", "02", Kind::DateTime),
            ("from 10.0.0.12 now", "12", Kind::Number),
            ("", "", Kind::Other),
        ] {
            let at = text.find(part).unwrap();
            assert_eq!(Kind::guess(text.as_bytes(), at), kind, "{text}");
        }
    }

    #[test]
    fn takes_any_bytes() {
        for at in 0..200 {
            Kind::guess(&[0xFF, b'-', b'1', 0xC3][..].repeat(40), at);
        }
    }
}
