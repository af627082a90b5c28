//! A plan as a person reads it.

use std::{fmt::Write as _, time::Duration};

use caravan_proto::{
    json::enum_text,
    v1::{Basis, ChunkBin, Plan, PlanGroup, QualifiedEngine, VolatilePrefix},
};
use comfy_table::Table;

use crate::{
    figures::{basis, bytes, count, counted, percent, span},
    table::{plain, with_heading},
};

/// Rows shown of a table; `--json` has all that the plan names.
const SHOWN: usize = 20;
/// Characters of the longest bar of the histogram.
const BAR: i64 = 40;

/// The plan: its numbers, then a table of whatever there is several of.
pub(super) fn text(plan: &Plan) -> String {
    let mut text = numbers(plan).trim_fmt();
    let tables = [
        (histogram(&plan.chunk_histogram), 0),
        (groups(&plan.groups), rest(plan.group_count, plan.groups.len())),
        (engines(&plan.engines), rest(plan.engine_count, plan.engines.len())),
        (volatile(&plan.volatile_prefixes), rest(0, plan.volatile_prefixes.len())),
    ];
    for (table, more) in tables {
        if table.is_empty() {
            continue;
        }
        let _ = write!(text, "\n\n{}", table.trim_fmt());
        if more > 0 {
            let _ = write!(text, "\n and {} more", count(more));
        }
    }
    for reason in reasons(&plan.groups) {
        let _ = write!(text, "\n\nnot reused: {reason}");
    }
    text
}

fn numbers(plan: &Plan) -> Table {
    let mut table = plain();
    let mut row = |name: &str, value: String| {
        table.add_row([name.to_owned(), value]);
    };
    row("limits from", enum_text(plan.origin().as_str_name(), "Origin"));
    row("requests", count(plan.requests));
    row("rejected lines", count(plan.rejected_lines));
    row("groups", count(plan.group_count));
    row("chunks", format!("{} of at most {}", count(plan.chunks), counted(plan.largest_chunk, "request")));
    row("largest context", counted(plan.largest_context, "token"));
    row("prompt tokens alone", count(plan.prompt_tokens_without));
    let counted = basis(plan.token_basis());
    row("prompt tokens planned", format!("{} ({counted})", count(plan.prompt_tokens_with)));
    row("savings", percent(plan.savings));
    row("prefix evaluations", count(plan.prefix_evaluations));
    row("output tokens", output(plan));
    row("payload", bytes(plan.payload_bytes));
    row("lanes", plan.lanes.to_string());
    row("estimated time", time(plan));
    table
}

/// Answer tokens, and how that number came about.
fn output(plan: &Plan) -> String {
    let (likely, allowed) = (count(plan.output_tokens), count(plan.allowed_answer_tokens));
    if plan.output_basis() == Basis::Measured {
        return format!("{likely} of {allowed} allowed (learned from earlier answers)");
    }
    let reserved = count(plan.reserved_answer_tokens);
    format!("{likely} (all that is allowed; {reserved} where a request states no maximum)")
}

fn time(plan: &Plan) -> String {
    let known = |time: Option<prost_types::Duration>| time.and_then(|time| Duration::try_from(time).ok());
    match (known(plan.estimated_duration), known(plan.lane_time)) {
        (Some(whole), Some(lane)) => format!("{} ({} of one lane)", span(whole), span(lane)),
        (Some(whole), None) => span(whole),
        (None, _) => "not known".to_owned(),
    }
}

fn histogram(bins: &[ChunkBin]) -> Table {
    let mut table = with_heading(["REQUESTS A CHUNK", "CHUNKS", ""]);
    let most = bins.iter().map(|bin| bin.chunks).max().unwrap_or_default().max(1);
    for bin in bins {
        let least = bin.max_requests / 2 + 1;
        let sizes = match bin.max_requests {
            ..=2 => count(bin.max_requests),
            most => format!("{} to {}", count(least), count(most)),
        };
        let length = bin.chunks.saturating_mul(BAR).div_euclid(most).max(1);
        let bar = "▇".repeat(usize::try_from(length).unwrap_or_default());
        table.add_row([sizes, count(bin.chunks), bar]);
    }
    table
}

fn groups(groups: &[PlanGroup]) -> Table {
    let heading =
        ["MODEL", "ENDPOINT", "REQUESTS", "CHUNKS", "SHARED MESSAGES", "PREFIX TOKENS", "REUSED", "LANES"];
    let mut table = with_heading(heading);
    for group in groups.iter().take(SHOWN) {
        let reused = match (group.prefix_tokens, group.not_reused.is_empty()) {
            (..=0, _) => "-",
            (_, true) => "yes",
            (_, false) => "no",
        };
        table.add_row([
            group.model.clone(),
            group.endpoint.clone(),
            count(group.requests),
            count(group.chunks),
            group.shared_messages.to_string(),
            count(group.prefix_tokens),
            reused.to_owned(),
            group.lanes.to_string(),
        ]);
    }
    table
}

fn engines(engines: &[QualifiedEngine]) -> Table {
    let mut table = with_heading(["ENGINE", "HOST", "MODEL", "SLOTS", "LARGEST CONTEXT"]);
    for engine in engines.iter().take(SHOWN) {
        let context = engine.max_context;
        table.add_row([
            engine.engine.clone(),
            if engine.host.is_empty() { "-".to_owned() } else { engine.host.clone() },
            engine.model.clone(),
            engine.slots.to_string(),
            if context > 0 { count(context) } else { "not known".to_owned() },
        ]);
    }
    table
}

fn volatile(prefixes: &[VolatilePrefix]) -> Table {
    let heading = ["DIFFERS IN EVERY REQUEST", "FROM BYTE", "WHAT", "REQUESTS", "TOKENS LOST", "WAY OUT"];
    let mut table = with_heading(heading);
    for prefix in prefixes.iter().take(SHOWN) {
        table.add_row([
            prefix.field.clone(),
            count(prefix.offset),
            prefix.kind.clone(),
            count(prefix.requests),
            format!("about {}", count(prefix.tokens)),
            way_out(&prefix.kind).to_owned(),
        ]);
    }
    table
}

fn way_out(kind: &str) -> &'static str {
    match kind {
        "time" => "put the time behind what requests share, or leave it out",
        "id" => "put the id behind what requests share; custom_id names a request already",
        "number" => "put the number behind what requests share",
        _ => "put this text behind what requests share",
    }
}

/// Why engines do not reuse prefixes, each reason once.
fn reasons(groups: &[PlanGroup]) -> Vec<&str> {
    let mut reasons = Vec::new();
    for group in groups.iter().filter(|group| group.prefix_tokens > 0 && !group.not_reused.is_empty()) {
        if !reasons.contains(&group.not_reused.as_str()) {
            reasons.push(&group.not_reused);
        }
    }
    reasons.truncate(SHOWN);
    reasons
}

/// How many of `named` or, if that is more, of `all` are not shown.
fn rest(all: i64, named: usize) -> i64 {
    let named = i64::try_from(named).unwrap_or(i64::MAX);
    let shown = named.min(i64::try_from(SHOWN).unwrap_or(i64::MAX));
    all.max(named) - shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_of_a_plan_is_shown() {
        let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
        let group = PlanGroup {
            model: "m".into(),
            endpoint: "/api/chat".into(),
            requests: 60,
            chunks: 6,
            prefix_tokens: 2_400,
            lanes: 4,
            shared_messages: 1,
            not_reused: "the window is small".into(),
        };
        let plan = Plan {
            requests: 60,
            chunks: 6,
            largest_chunk: 30,
            output_tokens: 1_500,
            allowed_answer_tokens: 6_000,
            output_basis: Basis::Measured.into(),
            payload_bytes: 1_536,
            estimated_duration: seconds(130),
            lane_time: seconds(7_260),
            groups: vec![group.clone(), group],
            group_count: 70,
            chunk_histogram: vec![
                ChunkBin { max_requests: 1, chunks: 1 },
                ChunkBin { max_requests: 32, chunks: 4 },
            ],
            volatile_prefixes: vec![VolatilePrefix {
                field: "body.messages[0].content".into(),
                offset: 12,
                kind: "time".into(),
                requests: 60,
                tokens: 141_600,
            }],
            engines: vec![QualifiedEngine {
                host: "gpu-1".into(),
                engine: "ollama-0".into(),
                model: "m:latest".into(),
                slots: 4,
                max_context: 8_192,
                ..Default::default()
            }],
            engine_count: 1,
            ..Default::default()
        };
        let text = text(&plan);
        let words: Vec<String> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for wanted in [
            "chunks 6 of at most 30 requests",
            "output tokens 1,500 of 6,000 allowed (learned from earlier answers)",
            "payload 1.5 KiB",
            "estimated time 2 min 10 s (2 h 1 min of one lane)",
            "1 1 ▇▇▇▇▇▇▇▇▇▇",
            "17 to 32 4 ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇",
            "m /api/chat 60 6 1 2,400 no 4",
            "and 68 more",
            "ollama-0 gpu-1 m:latest 4 8,192",
            "body.messages[0].content 12 time 60 about 141,600 put the time behind what requests share, or leave \
             it out",
            "not reused: the window is small",
        ] {
            assert!(words.iter().any(|line| line == wanted), "{wanted} is missing in\n{text}");
        }
        assert_eq!(text.matches("not reused").count(), 1, "{text}");
    }

    #[test]
    fn what_is_not_known_is_said() {
        let plan = Plan {
            output_tokens: 6_000,
            allowed_answer_tokens: 6_000,
            reserved_answer_tokens: 512,
            ..Default::default()
        };
        let text = text(&plan);
        assert!(
            text.contains("6,000 (all that is allowed; 512 where a request states no maximum)"),
            "{text}"
        );
        assert!(text.contains("not known") && !text.contains("HOST"), "{text}");
    }
}
