//! Which bytes of a file a request wants: RFC 9110, for one range.

use std::ops::Range;

use axum::http::{HeaderMap, header};

/// What to answer with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it.
    Whole,
    /// A part: never empty.
    Part(Range<u64>),
    /// Nothing: the client has it.
    NotModified,
    /// A range that the file does not have.
    Nothing,
}

// === impl Wanted ===

impl Wanted {
    /// What `headers` want of a file of `size` bytes with this entity tag.
    pub(super) fn of(headers: &HeaderMap, size: u64, etag: &str) -> Self {
        if headers
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .any(|tags| tags.to_str().is_ok_and(|t| matches(t, etag)))
        {
            return Self::NotModified;
        }
        // A date is never that of this version: files have none.
        let same = headers.get(header::IF_RANGE).is_none_or(|tag| tag.as_bytes() == etag.as_bytes());
        let mut ranges = headers.get_all(header::RANGE).iter();
        match (ranges.next(), ranges.next()) {
            (Some(range), None) if same => range.to_str().map_or(Self::Nothing, |range| part(range, size)),
            (Some(_), Some(_)) if same => Self::Nothing,
            _ => Self::Whole,
        }
    }
}

/// Whether one of these entity tags is it, however weak.
fn matches(tags: &str, etag: &str) -> bool {
    tags.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

fn part(range: &str, size: u64) -> Wanted {
    let Some((unit, ranges)) = range.split_once('=') else { return Wanted::Nothing };
    // Units that are not known are ignored; so are several ranges, as may be.
    if !unit.eq_ignore_ascii_case("bytes") || ranges.contains(',') {
        return Wanted::Whole;
    }
    let bounds = ranges.trim().split_once('-').and_then(|(first, last)| {
        let range = match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(size),
            (Some(first), None) if last.is_empty() => first..size,
            (None, Some(bytes)) if first.is_empty() => size.saturating_sub(bytes)..size,
            _ => return None,
        };
        (!range.is_empty()).then_some(range)
    });
    bounds.map_or(Wanted::Nothing, Wanted::Part)
}

/// Digits alone; more than fit are more than any file has.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn wanted(headers: &[(header::HeaderName, &str)]) -> Wanted {
        let value = |text: &str| HeaderValue::try_from(text).expect("a value");
        let headers = headers.iter().map(|(name, text)| (name.clone(), value(text))).collect();
        Wanted::of(&headers, 10, "\"tag\"")
    }

    #[test]
    fn ranges_are_those_of_the_rfc() {
        for (range, expected) in [
            ("bytes=0-3", Wanted::Part(0..4)),
            ("bytes=9-", Wanted::Part(9..10)),
            ("bytes=2-99999999999999999999", Wanted::Part(2..10)),
            ("bytes=-3", Wanted::Part(7..10)),
            ("bytes=-99", Wanted::Part(0..10)),
            ("Bytes=0-0", Wanted::Part(0..1)),
            ("lines=0-3", Wanted::Whole),
            ("bytes=0-1,4-5", Wanted::Whole),
            ("bytes=10-", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=5-2", Wanted::Nothing),
            ("bytes=+1-2", Wanted::Nothing),
            ("bytes=-", Wanted::Nothing),
            ("bytes=a-b", Wanted::Nothing),
            ("bytes", Wanted::Nothing),
        ] {
            assert_eq!(wanted(&[(header::RANGE, range)]), expected, "{range}");
        }
    }

    #[test]
    fn tags_decide_whether_the_range_counts() {
        let range = (header::RANGE, "bytes=0-3");
        assert_eq!(wanted(&[range.clone(), (header::IF_RANGE, "\"tag\"")]), Wanted::Part(0..4));
        for other in ["\"other\"", "W/\"tag\"", "Wed, 21 Oct 2015 07:28:00 GMT"] {
            assert_eq!(wanted(&[range.clone(), (header::IF_RANGE, other)]), Wanted::Whole);
        }
        for same in ["\"tag\"", "\"a\", W/\"tag\"", "*"] {
            assert_eq!(wanted(&[(header::IF_NONE_MATCH, same)]), Wanted::NotModified);
        }
        assert_eq!(wanted(&[range.clone(), range]), Wanted::Nothing);
    }
}
