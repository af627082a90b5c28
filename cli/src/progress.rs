//! Progress, on stderr: a bar on a terminal, else a line every few seconds.

use std::{
    io::{self, IsTerminal as _},
    time::{Duration, Instant, SystemTime},
};

use caravan_proto::{
    json,
    v1::{Batch, batch::State},
};
use indicatif::ProgressBar;

use crate::{
    figures::{bytes, cached_share, count, counted, span},
    stderr,
};

/// Between two lines where there is no terminal; a change of state or of its reason is said at once.
pub(crate) const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Progress of a batch.
pub(crate) struct Progress {
    form: Form,
    warned: bool,
}

enum Form {
    Bar(ProgressBar),
    Lines { last: Option<(Instant, State, String)> },
    Silent,
}

/// Progress of a file's bytes; shown on a terminal only.
pub(crate) struct Transfer {
    bar: ProgressBar,
}

// === impl Progress ===

impl Progress {
    /// `json`: stdout tells it already, so lines would say it twice.
    pub(crate) fn new(json: bool) -> Self {
        let form = match (io::stderr().is_terminal(), json) {
            (true, _) => Form::Bar(stderr::bar("{wide_bar} {percent:>3} %\n{wide_msg}")),
            (false, false) => Form::Lines { last: None },
            (false, true) => Form::Silent,
        };
        Self { form, warned: false }
    }

    /// Shows where the batch stands, and once what its plan warns of.
    pub(crate) fn show(&mut self, batch: &Batch) {
        if let Some(plan) = batch.plan.as_ref().filter(|_| !self.warned) {
            self.warned = true;
            plan.warnings.iter().for_each(|warning| stderr::note(format_args!("warning: {warning}")));
        }
        match &mut self.form {
            Form::Bar(bar) => {
                let requests = batch.requests.unwrap_or_default();
                bar.set_length(requests.total.unsigned_abs());
                bar.set_position((requests.succeeded + requests.failed).unsigned_abs());
                bar.set_message(text(batch));
            }
            Form::Lines { last } => {
                let now = (Instant::now(), batch.state(), batch.state_message.clone());
                let due = last.as_ref().is_none_or(|(at, state, message)| {
                    at.elapsed() >= LINE_INTERVAL || *state != now.1 || *message != now.2
                });
                if due {
                    stderr::note(text(batch));
                    *last = Some(now);
                }
            }
            Form::Silent => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Form::Bar(bar) = &self.form {
            bar.finish_and_clear();
        }
    }
}

// === impl Transfer ===

impl Transfer {
    /// Of `size` bytes; `what` is done with them.
    pub(crate) fn new(what: &'static str, size: u64) -> Self {
        let bar = stderr::bar("{bar:20} {prefix} {wide_msg}");
        bar.set_prefix(what);
        bar.set_length(size);
        Self { bar }
    }

    /// So many bytes are done.
    pub(crate) fn at(&self, offset: u64) {
        self.bar.set_position(offset);
        self.bar.set_message(bytes(i64::try_from(offset).unwrap_or(i64::MAX)));
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A state as JSON has it.
pub(crate) fn state(state: State) -> String {
    json::enum_text(state.as_str_name(), "State")
}

/// Where a batch stands, in one line.
fn text(batch: &Batch) -> String {
    let (requests, chunks) = (batch.requests.unwrap_or_default(), batch.chunks.unwrap_or_default());
    let mut parts = vec![state(batch.state())];
    if batch.state() != State::Running && !batch.state_message.is_empty() {
        parts.push(batch.state_message.clone());
    }
    if chunks.total > 0 {
        let at = (chunks.done + chunks.running).min(chunks.total);
        parts.push(format!("chunk {} of {}", count(at), count(chunks.total)));
    }
    if requests.total > 0 {
        let done = requests.succeeded + requests.failed;
        let failed =
            if requests.failed > 0 { format!(", {} failed", count(requests.failed)) } else { String::new() };
        parts.push(format!("{} of {}{failed}", count(done), counted(requests.total, "request")));
    }
    let progress = batch.progress.unwrap_or_default();
    if progress.tokens_per_second > 0.0 {
        parts.push(format!("{:.0} tokens/s", progress.tokens_per_second));
    }
    if let Some(cached) = batch.usage.as_ref().and_then(cached_share) {
        parts.push(format!("{cached} of prompts from cache"));
    }
    if let Some(remaining) = progress.remaining.filter(|_| batch.state() == State::Running)
        && let Ok(remaining) = Duration::try_from(remaining)
    {
        parts.push(format!("{} left", span(remaining)));
    }
    if let Some(left) = until_expiry(batch) {
        parts.push(format!("expires in {}", span(left)));
    }
    parts.join(" · ")
}

/// How long from now a batch expires; none if it does not, has ended, or is overdue.
pub(crate) fn until_expiry(batch: &Batch) -> Option<Duration> {
    let open = batch.end_time.is_none() && batch.state() != State::Finalizing;
    let expires = SystemTime::try_from(batch.expire_time.filter(|_| open)?).ok()?;
    expires.duration_since(SystemTime::now()).ok()
}

#[cfg(test)]
mod tests {
    use caravan_proto::v1::{self, Basis, ChunkCounts, RequestCounts, Usage};

    use super::*;

    #[test]
    fn one_line_says_it_all() {
        let batch = Batch {
            state: State::Running.into(),
            chunks: Some(ChunkCounts { total: 57, done: 2, running: 1 }),
            requests: Some(RequestCounts { total: 5_000, succeeded: 1_200, failed: 3 }),
            progress: Some(v1::Progress {
                requests_per_second: 12.0,
                tokens_per_second: 940.4,
                remaining: Some(prost_types::Duration { seconds: 312, nanos: 0 }),
            }),
            usage: Some(Usage {
                prompt_tokens: 1_000,
                cached_tokens: 782,
                cache_basis: Basis::Measured.into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        assert_eq!(
            text(&batch),
            "running · chunk 3 of 57 · 1,203 of 5,000 requests, 3 failed · 940 tokens/s · \
             78.2 % of prompts from cache · 5 min 12 s left"
        );
    }

    #[test]
    fn what_does_not_run_has_no_time_left() {
        let progress = v1::Progress {
            remaining: Some(prost_types::Duration { seconds: 23, nanos: 0 }),
            ..v1::Progress::default()
        };
        let text = |state: State| {
            text(&Batch { state: state.into(), progress: Some(progress), ..Default::default() })
        };
        assert_eq!(text(State::Running), "running · 23 s left");
        for state in [State::Finalizing, State::Cancelling, State::Expired] {
            assert_eq!(text(state), super::state(state));
        }
    }

    #[test]
    fn a_batch_with_a_completion_window_says_what_is_left_of_it() {
        let in_an_hour = SystemTime::now() + Duration::from_secs(3_630);
        let mut batch = Batch { state: State::Paused.into(), ..Default::default() };
        batch.expire_time = Some(in_an_hour.into());
        assert_eq!(text(&batch), "paused · expires in 1 h 0 min");
        batch.end_time = batch.expire_time;
        assert_eq!(text(&batch), "paused");
    }

    #[test]
    fn a_waiting_batch_says_why() {
        let batch = Batch {
            state: State::Queued.into(),
            state_message: "no engine has the model llama9".into(),
            ..Default::default()
        };
        assert_eq!(text(&batch), "queued · no engine has the model llama9");
    }
}
