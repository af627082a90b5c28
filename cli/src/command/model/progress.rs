use std::{
    collections::HashMap,
    io::{self, IsTerminal as _},
    time::Instant,
};

use caravan_proto::{
    json::enum_text,
    v1::{EnsureModelResponse, ensure_model_response::State},
};
use indicatif::ProgressBar;

use crate::{figures::bytes, progress::LINE_INTERVAL, stderr};

/// How far each engine is, on stderr: a bar each on a terminal, else lines.
pub(super) struct Progress {
    form: Form,
}

enum Form {
    Bars(HashMap<String, ProgressBar>),
    Lines(HashMap<String, (Instant, State)>),
    Silent,
}

// === impl Progress ===

impl Progress {
    /// `json`: stdout tells how it ended, and lines are for people.
    pub(super) fn new(json: bool) -> Self {
        let form = match (io::stderr().is_terminal(), json) {
            (true, _) => Form::Bars(HashMap::new()),
            (false, false) => Form::Lines(HashMap::new()),
            (false, true) => Form::Silent,
        };
        Self { form }
    }

    /// Shows where an engine stands.
    pub(super) fn show(&mut self, engine: &EnsureModelResponse) {
        let name = format!("{}/{}", engine.host, engine.engine);
        match &mut self.form {
            Form::Bars(bars) => {
                let bar = bars.entry(name).or_insert_with_key(|name| {
                    let bar = stderr::bar("{prefix} {bar:20} {wide_msg}");
                    bar.set_prefix(name.clone());
                    bar
                });
                bar.set_length(engine.total_bytes.unsigned_abs());
                bar.set_position(engine.completed_bytes.unsigned_abs());
                bar.set_message(text(engine));
            }
            Form::Lines(last) => {
                let now = (Instant::now(), engine.state());
                let before = last.get(&name);
                if before.is_none_or(|(at, state)| at.elapsed() >= LINE_INTERVAL || *state != now.1) {
                    stderr::note(format_args!("{name}: {}", text(engine)));
                    last.insert(name, now);
                }
            }
            Form::Silent => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Form::Bars(bars) = &self.form {
            bars.values().for_each(ProgressBar::finish_and_clear);
        }
    }
}

/// A state as JSON has it.
pub(super) fn state(engine: &EnsureModelResponse) -> String {
    enum_text(engine.state().as_str_name(), "State")
}

fn text(engine: &EnsureModelResponse) -> String {
    let mut parts = vec![state(engine)];
    let is_moving = matches!(engine.state(), State::Transferring | State::Importing);
    if is_moving && engine.total_bytes > 0 {
        parts.push(format!("{} of {}", bytes(engine.completed_bytes), bytes(engine.total_bytes)));
    }
    if !engine.message.is_empty() {
        parts.push(engine.message.clone());
    }
    parts.join(" · ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_says_where_an_engine_stands() {
        let mut engine = EnsureModelResponse {
            state: State::Transferring.into(),
            message: "pulling 3f8eb4da87fa".into(),
            completed_bytes: 1 << 30,
            total_bytes: 3 << 30,
            ..Default::default()
        };
        assert_eq!(text(&engine), "transferring · 1.0 GiB of 3.0 GiB · pulling 3f8eb4da87fa");
        (engine.state, engine.message) = (State::Ready.into(), String::new());
        assert_eq!(text(&engine), "ready");
    }
}
