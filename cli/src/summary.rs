//! What is said once a batch has ended.

use std::{fmt::Write as _, time::Duration};

use caravan_proto::v1::{Basis, Batch, LineError, Prediction, Strategy, Usage};
use prost_types::Timestamp;

use crate::{
    figures::{basis, count, percent, share, span},
    progress::state,
};

/// Line errors that are shown; the file given by `--errors` has all of them.
const SHOWN_ERRORS: usize = 20;

/// The end of a batch in a few lines.
pub(crate) fn text(batch: &Batch) -> String {
    let mut lines = vec![heading(batch)];
    let requests = batch.requests.unwrap_or_default();
    lines.push(format!(
        "answered {} of {}, failed {}",
        count(requests.succeeded),
        count(requests.total),
        count(requests.failed)
    ));
    if let Some(usage) = batch.usage.filter(|usage| usage.prompt_tokens > 0) {
        lines.push(format!("prompt tokens {} ({})", count(usage.prompt_tokens), basis(usage.prompt_basis())));
        if usage.cache_basis() == Basis::Unspecified {
            lines.push("evaluated and from cache: not known".to_owned());
        } else {
            lines.push(format!(
                "evaluated {}, from cache {} ({}, {})",
                count(usage.evaluated_tokens),
                count(usage.cached_tokens),
                share(usage.cached_tokens, usage.prompt_tokens),
                basis(usage.cache_basis()),
            ));
        }
        lines.push(format!("answer tokens {}", count(usage.completion_tokens)));
        lines.extend(savings(batch, &usage));
    }
    lines.extend(time(batch));
    lines.extend(prediction(batch));
    lines.join("\n  ")
}

/// The first line errors of validation, one a line; empty without any.
pub(crate) fn line_errors(batch: &Batch) -> String {
    let mut text = String::new();
    for error in batch.line_errors.iter().take(SHOWN_ERRORS) {
        let _ = writeln!(text, "{}", line_error(error));
    }
    let shown = batch.line_errors.len().min(SHOWN_ERRORS);
    let more = batch.line_error_count.saturating_sub(i64::try_from(shown).unwrap_or(i64::MAX));
    if more > 0 {
        let _ = writeln!(text, "and {} more", count(more));
    }
    text.trim_end().to_owned()
}

fn line_error(error: &LineError) -> String {
    let mut text = format!("line {}", error.line);
    if !error.custom_id.is_empty() {
        let _ = write!(text, " ({})", error.custom_id);
    }
    let _ = write!(text, ": {}", error.message);
    if !error.param.is_empty() {
        let _ = write!(text, " (field {})", error.param);
    }
    let _ = write!(text, " [{}]", error.code);
    text
}

fn heading(batch: &Batch) -> String {
    let id = batch.name.rsplit('/').next().unwrap_or_default();
    let mut text = format!("{id} {}", state(batch.state()));
    if !batch.state_message.is_empty() {
        let _ = write!(text, ": {}", batch.state_message);
    }
    text
}

/// Against every request sent alone. Independent requests are: their prompts are what was
/// counted. A conversation's prompts hold the exchanges before: there the plan's number counts.
fn savings(batch: &Batch, usage: &Usage) -> Option<String> {
    let (alone, alone_basis) = match batch.strategy() {
        Strategy::Conversation => {
            let plan = batch.plan.as_ref()?;
            (plan.prompt_tokens_without, plan.token_basis())
        }
        Strategy::Independent | Strategy::Unspecified => (usage.prompt_tokens, usage.prompt_basis()),
    };
    (alone > 0 && usage.cache_basis() != Basis::Unspecified).then(|| {
        let saved = share((alone - usage.evaluated_tokens).max(0), alone);
        format!(
            "savings {saved} of {} prompt tokens of every request alone ({})",
            count(alone),
            basis(alone_basis)
        )
    })
}

fn time(batch: &Batch) -> Option<String> {
    let whole = between(batch.create_time, batch.end_time)?;
    let running = between(batch.start_time, batch.last_commit_time);
    let running = running.map(|running| format!(", {} of it running", span(running))).unwrap_or_default();
    Some(format!("time {}{running}", span(whole)))
}

/// What the plan said, in parts of what happened.
fn prediction(batch: &Batch) -> Option<String> {
    let report = batch.report?;
    let part = |name: &str, of: Option<Prediction>| {
        let of = of.filter(|prediction| prediction.ratio > 0.0)?;
        Some(format!("{name} {:.0} for {:.0} ({})", of.predicted, of.actual, percent(of.ratio)))
    };
    let parts = [
        part("evaluated tokens", report.prompt_tokens),
        part("answer tokens", report.output_tokens),
        part("seconds", report.seconds),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| format!("predicted {}", parts.join(", ")))
}

fn between(from: Option<Timestamp>, to: Option<Timestamp>) -> Option<Duration> {
    let micros = |at: Timestamp| i128::from(at.seconds) * 1_000_000 + i128::from(at.nanos / 1_000);
    u64::try_from(micros(to?) - micros(from?)).ok().map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use caravan_proto::v1::{Plan, Report, RequestCounts, batch::State};

    use super::*;

    #[test]
    fn the_end_of_a_batch_is_told_with_its_savings() {
        let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
        let mut batch = Batch {
            name: "batches/batch_1".into(),
            state: State::Completed.into(),
            requests: Some(RequestCounts { total: 60, succeeded: 58, failed: 2 }),
            usage: Some(Usage {
                prompt_tokens: 50_000,
                prompt_basis: Basis::Measured.into(),
                evaluated_tokens: 10_000,
                cached_tokens: 40_000,
                cache_basis: Basis::Estimated.into(),
                completion_tokens: 1_200,
            }),
            create_time: at(100),
            start_time: at(110),
            last_commit_time: at(220),
            end_time: at(230),
            ..Default::default()
        };
        assert_eq!(
            text(&batch),
            "batch_1 completed\n  answered 58 of 60, failed 2\n  prompt tokens 50,000 (measured)\n  \
             evaluated 10,000, from cache 40,000 (80.0 %, estimated)\n  answer tokens 1,200\n  \
             savings 80.0 % of 50,000 prompt tokens of every request alone (measured)\n  \
             time 2 min 10 s, 1 min 50 s of it running"
        );

        batch.strategy = Strategy::Conversation.into();
        batch.plan = Some(Plan {
            prompt_tokens_without: 40_000,
            token_basis: Basis::Estimated.into(),
            ..Default::default()
        });
        assert!(
            text(&batch)
                .contains("savings 75.0 % of 40,000 prompt tokens of every request alone (estimated)")
        );

        let ratio = |ratio| Some(Prediction { predicted: 100.0 * ratio, actual: 100.0, ratio });
        batch.report =
            Some(Report { prompt_tokens: ratio(1.02), output_tokens: ratio(0.0), seconds: ratio(0.9) });
        assert!(
            text(&batch).ends_with(
                "\n  predicted evaluated tokens 102 for 100 (102.0 %), seconds 90 for 100 (90.0 %)"
            )
        );
    }

    #[test]
    fn line_errors_are_counted_beyond_those_shown() {
        let error = LineError {
            line: 17,
            custom_id: "r-17".into(),
            code: "invalid_value".into(),
            param: "body.messages[1].role".into(),
            message: "unknown role".into(),
        };
        let batch = Batch { line_errors: vec![error], line_error_count: 9, ..Default::default() };
        assert_eq!(
            line_errors(&batch),
            "line 17 (r-17): unknown role (field body.messages[1].role) [invalid_value]\nand 8 more"
        );
        assert_eq!(line_errors(&Batch::default()), "");
    }
}
