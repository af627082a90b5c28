//! Lines in, errors or requests out.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bodies;
mod codes;
mod defaults;
mod fleet;
mod measures;
mod odd;
mod output;
mod split;

use caravan_request::{Line, LineError, LinePolicy, validate};

/// The errors of `line` under `policy`, as `code param`; empty if it is good.
fn errors_under(line: &[u8], policy: &LinePolicy<'_>) -> Vec<String> {
    validate(7, line, policy).map_or_else(|errors| errors.iter().map(short).collect(), |_| Vec::new())
}

/// The errors of `line` with nothing configured.
fn errors(line: &str) -> Vec<String> {
    errors_under(line.as_bytes(), &LinePolicy::default())
}

/// The request of a good `line`.
fn good(line: &str) -> Line<'_> {
    validate(7, line.as_bytes(), &LinePolicy::default()).unwrap_or_else(|errors| panic!("{line}: {errors:?}"))
}

fn short(error: &LineError) -> String {
    match &error.param {
        Some(param) => format!("{} {param}", error.code),
        None => error.code.to_string(),
    }
}

/// A line for `url` with `body`.
fn line(url: &str, body: &str) -> String {
    format!(r#"{{"custom_id":"a","method":"POST","url":"{url}","body":{body}}}"#)
}

/// A chat line with `fields` beside a model and one message.
fn chat(fields: &str) -> String {
    let comma = if fields.is_empty() { "" } else { "," };
    let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}]{comma}{fields}}}"#);
    line("/v1/chat/completions", &body)
}

/// A chat line with these messages.
fn messages(messages: &str) -> String {
    line("/v1/chat/completions", &format!(r#"{{"model":"m","messages":{messages}}}"#))
}
