//! A profile as tables, for a person.

use std::fmt::Write as _;

use caravan_proto::v1::{MemoryFit, MemoryPoint, Profile, ReusePoint, SpeedPoint, memory_fit::Source};
use comfy_table::{Table, presets};

/// `profile` as tables, without a final line end.
#[must_use]
pub fn text(profile: &Profile) -> String {
    let mut text = head(profile).trim_fmt();
    if let Some(memory) = &profile.memory {
        let _ = write!(text, "\n\n{}", points(memory).trim_fmt());
    }
    if !profile.speeds.is_empty() {
        let _ = write!(text, "\n\n{}", speeds(&profile.speeds).trim_fmt());
    }
    if !profile.reuse.is_empty() {
        let _ = write!(text, "\n\n{}", reuse(&profile.reuse).trim_fmt());
    }
    for note in &profile.notes {
        let _ = write!(text, "\n\n{note}");
    }
    if !profile.left_out.is_empty() {
        let _ = write!(text, "\n\nLeft out, because the time was over: {}.", profile.left_out.join("; "));
    }
    text
}

fn head(profile: &Profile) -> Table {
    let mut table = plain();
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            table.add_row([name.to_owned(), value]);
        }
    };
    row("model", format!("{} {}", profile.model, short(&profile.model_digest)).trim_end().to_owned());
    row("engine", format!("{} {}", kind(profile), profile.engine_version).trim_end().to_owned());
    row("host", profile.host.clone());
    row("GPU", or_dash(format!("{} {}", profile.gpu, profile.driver).trim()));
    row("KV type", or_dash(&profile.kv_type));
    row("slots", profile.slots.to_string());
    row("largest context", format!("{} tokens of a slot", number(profile.max_context)));
    row("prefill", rate(profile.prefill_tokens_per_second, "prompt tokens/s of a lane"));
    row("decode", rate(profile.decode_tokens_per_second, "answer tokens/s of a lane"));
    row("request", format!("{:.1} ms besides its tokens", profile.request_seconds * 1_000.0));
    if profile.kv_bytes_per_token > 0.0 {
        row("KV", format!("{:.1} KiB a token", profile.kv_bytes_per_token / 1_024.0));
    }
    if let Some(memory) = profile.memory.as_ref().filter(|memory| memory.fixed_bytes > 0.0) {
        row("memory", line(memory));
    }
    if let Some(template) = &profile.template {
        let added = format!(
            "{} tokens, {} for a system message, {} for each exchange more",
            template.conversation, template.system, template.exchange
        );
        row("template", added);
    }
    if let Some(Ok(took)) = profile.duration.map(std::time::Duration::try_from) {
        row("took", format!("{:.0} s", took.as_secs_f64()));
    }
    table
}

fn line(memory: &MemoryFit) -> String {
    let read = match memory.source() {
        Source::Nvml => "NVML",
        Source::SizeVram => "size_vram",
        Source::Size => "size",
        Source::Resident => "resident memory",
        Source::Unspecified => "nothing",
    };
    let (fixed, slot) = (mib(memory.fixed_bytes), mib(memory.slot_bytes));
    let token = memory.token_bytes / 1_024.0;
    let formula = if memory.formula_token_bytes > 0.0 {
        format!(" ({:.1} KiB by the formula)", memory.formula_token_bytes / 1_024.0)
    } else {
        String::new()
    };
    format!("{fixed} + slots × ({slot} + context × {token:.1} KiB{formula}), by {read}")
}

fn points(memory: &MemoryFit) -> Table {
    let mut table = with_heading(["SLOTS", "CONTEXT", "MEMORY", "LINE SAYS", "OFF", "IN VRAM", "REFUSED"]);
    let known = |point: &&MemoryPoint| point.bytes > 0 || !point.refused.is_empty();
    for point in memory.points.iter().filter(known) {
        let measured = point.bytes > 0;
        let fitted = point.fitted_bytes > 0.0;
        let off = (point.fitted_bytes / point.bytes as f64 - 1.0) * 100.0;
        table.add_row([
            point.slots.to_string(),
            number(point.context),
            if measured { mib(point.bytes as f64) } else { "-".into() },
            if fitted { mib(point.fitted_bytes) } else { "-".into() },
            if measured && fitted { format!("{off:+.1} %") } else { "-".into() },
            if point.size_vram_bytes > 0 { mib(point.size_vram_bytes as f64) } else { "-".into() },
            point.refused.clone(),
        ]);
    }
    table
}

fn speeds(speeds: &[SpeedPoint]) -> Table {
    let mut table =
        with_heading(["LANES", "PREFILL/LANE", "DECODE/LANE", "REQUEST", "ALL TOGETHER", "REQUESTS", ""]);
    for point in speeds {
        table.add_row([
            point.slots.to_string(),
            rate(point.prefill_tokens_per_second, "tokens/s"),
            rate(point.decode_tokens_per_second, "tokens/s"),
            format!("{:.1} ms", point.request_seconds * 1_000.0),
            rate(point.throughput, "answer tokens/s"),
            point.requests.to_string(),
            if point.knee { "knee".into() } else { String::new() },
        ]);
    }
    table
}

fn reuse(points: &[ReusePoint]) -> Table {
    let mut table = with_heading(["PREFIX", "OWN PART", "NUM_BATCH", "EVALUATED", "REUSED", "NEEDS"]);
    for point in points {
        table.add_row([
            number(point.prefix_tokens),
            number(point.own_tokens),
            if point.batch_tokens > 0 { number(point.batch_tokens) } else { "own".into() },
            format!("{:.0}", point.evaluated_tokens),
            if point.reused { "yes".into() } else { "no".to_owned() },
            point.needs.clone(),
        ]);
    }
    table
}

fn with_heading<const N: usize>(heading: [&str; N]) -> Table {
    let mut table = plain();
    table.set_header(heading);
    table
}

fn plain() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

fn kind(profile: &Profile) -> String {
    caravan_proto::json::enum_text(profile.engine_kind().as_str_name(), "Kind")
}

/// The first digits of a digest, as engines show it.
fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

fn rate(rate: f64, unit: &str) -> String {
    if rate > 0.0 { format!("{rate:.1} {unit}") } else { "-".to_owned() }
}

fn mib(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / f64::from(1 << 20))
}

/// `1234567` as `1,234,567`.
pub(super) fn number(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    let sign = if number < 0 { "-" } else { "" };
    format!("{sign}{}", groups.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1_000, -1_234_567].map(number), ["0", "999", "1,000", "-1,234,567"]);
    }

    #[test]
    fn an_empty_profile_is_shown_without_a_word_too_many() {
        let shown = text(&Profile { model: "m".into(), ..Default::default() });
        assert!(
            shown.trim_start().starts_with("model") && !shown.contains("NaN") && !shown.contains("inf"),
            "{shown}"
        );
        assert!(!shown.contains("SLOTS"), "{shown}");
    }
}
