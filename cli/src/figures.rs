//! Numbers as a person reads them.

use std::time::Duration;

use caravan_proto::v1::{Basis, Usage};

/// `1234567` as `1,234,567`.
pub(crate) fn count(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 { "-".to_owned() } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 request`, `1,200 requests`; `one` is the word for one.
pub(crate) fn counted(number: i64, one: &str) -> String {
    format!("{} {one}{}", count(number), if number == 1 { "" } else { "s" })
}

/// `part` of `whole` as `78.2 %`; nothing of nothing is `-`.
pub(crate) fn share(part: i64, whole: i64) -> String {
    if whole <= 0 {
        return "-".to_owned();
    }
    #[expect(clippy::cast_precision_loss, reason = "one decimal of a percentage is shown")]
    let ratio = part as f64 / whole as f64;
    percent(ratio)
}

/// `0.782` as `78.2 %`.
pub(crate) fn percent(ratio: f64) -> String {
    format!("{:.1} %", ratio * 100.0)
}

/// `130 s` as `2 min 10 s`.
pub(crate) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0..10) => format!("{:.1} s", duration.as_secs_f64()),
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

/// Bytes in binary units: `1.5 GiB`.
pub(crate) fn bytes(number: i64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    let mut rest = number as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if rest.abs() < 1024.0 {
            return if unit == "B" { format!("{number} B") } else { format!("{rest:.1} {unit}") };
        }
        rest /= 1024.0;
    }
    format!("{rest:.1} TiB")
}

/// How a number came about, in a word.
pub(crate) fn basis(basis: Basis) -> &'static str {
    match basis {
        Basis::Measured => "measured",
        Basis::Estimated => "estimated",
        Basis::Mixed => "partly estimated",
        Basis::Unspecified => "not known",
    }
}

/// The share of prompt tokens that came from the cache; none while nothing is known.
pub(crate) fn cached_share(usage: &Usage) -> Option<String> {
    (usage.cache_basis() != Basis::Unspecified && usage.prompt_tokens > 0)
        .then(|| share(usage.cached_tokens, usage.prompt_tokens))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            [count(0), count(999), count(1_000), count(-1_234_567)],
            ["0", "999", "1,000", "-1,234,567"]
        );
        assert_eq!([0, 1, 1_000].map(|number| counted(number, "line")), ["0 lines", "1 line", "1,000 lines"]);
        assert_eq!([share(1, 3), share(0, 0)], ["33.3 %", "-"]);
        let spans = [1_500, 42_000, 130_000, 7_260_000].map(|ms| span(Duration::from_millis(ms)));
        assert_eq!(spans, ["1.5 s", "42 s", "2 min 10 s", "2 h 1 min"]);
        assert_eq!([bytes(512), bytes(1_536), bytes(24 << 30)], ["512 B", "1.5 KiB", "24.0 GiB"]);
    }
}
