use std::{borrow::Cow, cell::Cell};

use crate::{
    Code, Endpoint, Kinds, LineError, body,
    envelope::Envelope,
    json::{Node, TOO_MANY_VALUES},
    measure,
    path::Path,
    report::Report,
};

/// What a line must comply with beside being well formed.
#[derive(Debug, Clone, Copy)]
pub struct LinePolicy<'p> {
    /// The endpoint that every line must name, if the batch names one.
    pub endpoint: Option<Endpoint>,
    /// The model that every line must name, or leave out, if the batch names one.
    pub model: Option<&'p str>,
    /// Kinds of engine in the fleet; all of them while none is known.
    pub kinds: Kinds,
    /// Bytes of a line at most, without its end.
    pub max_line_bytes: usize,
    /// JSON values of a line at most: bounds the memory that reading it takes, some 64 bytes each.
    pub max_values: usize,
    /// Errors named for one line at most.
    pub max_errors: usize,
}

/// A valid line, and what planning needs to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a> {
    /// 1-based line number.
    pub number: u64,
    /// The client's name for the request: 1 to 512 bytes without control characters.
    pub custom_id: Cow<'a, str>,
    /// Where it is addressed to.
    pub endpoint: Endpoint,
    /// The model that it names, or the batch's.
    pub model: Cow<'a, str>,
    /// The body as it stands in the line: one JSON object.
    pub body: &'a str,
    /// Kinds of the fleet that honour all of it; at least one.
    pub kinds: Kinds,
    /// Tokens of answer that it allows, whichever way it says so.
    pub max_tokens: Option<u64>,
    /// Answers that it asks for, `n`; 1 unless it says more.
    pub choices: u64,
    /// Messages; 0 if its prompt is not a list of messages.
    pub messages: usize,
}

/// Reads line `number`, `bytes` without its end, and checks all of it in one pass.
///
/// Takes memory in proportion to the line, and time: a line's texts are read three times.
///
/// # Errors
/// What is wrong with the line: up to `max_errors` things.
pub fn validate<'a>(
    number: u64,
    bytes: &'a [u8],
    policy: &LinePolicy<'a>,
) -> Result<Line<'a>, Vec<LineError>> {
    if bytes.len() > policy.max_line_bytes {
        return Err(vec![LineError::line_too_long(number, policy.max_line_bytes)]);
    }
    let mut report = Report::new(number, policy);
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let byte = error.valid_up_to() + 1;
            report.whole(Code::InvalidUtf8, format_args!("byte {byte} is not UTF-8: save the file as UTF-8"));
            return Err(report.finish(None));
        }
    };
    let budget = Cell::new(policy.max_values);
    let envelope = match Envelope::parse(text, &budget) {
        Ok(envelope) => envelope,
        Err(error) => {
            not_json(&error, 0, &mut report);
            return Err(report.finish(None));
        }
    };
    let endpoint = envelope.check(&mut report);
    let raw = envelope.body.map_or("null", |body| body.get());
    let body = match Node::parse(raw, &budget) {
        Ok(body) => body,
        Err(error) => {
            let offset = (raw.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
            not_json(&error, offset, &mut report);
            return Err(report.finish(envelope.custom_id()));
        }
    };
    if let (Some(endpoint), Some(_)) = (endpoint, envelope.body) {
        body::check(&body, &Path::root("body"), endpoint, &mut report);
    }
    let kinds = report.kinds;
    let errors = report.finish(envelope.custom_id());
    match (endpoint, envelope.into_custom_id()) {
        (Some(endpoint), Some(custom_id)) if errors.is_empty() => {
            Ok(describe(number, custom_id, endpoint, raw, &body, kinds, policy))
        }
        _ => Err(errors),
    }
}

fn describe<'a>(
    number: u64,
    custom_id: Cow<'a, str>,
    endpoint: Endpoint,
    raw: &'a str,
    body: &Node<'a>,
    kinds: Kinds,
    policy: &LinePolicy<'a>,
) -> Line<'a> {
    let model = match body.get("model") {
        Some(Node::Text(model)) => model.clone(),
        _ => Cow::Borrowed(policy.model.unwrap_or_default()),
    };
    Line {
        number,
        custom_id,
        endpoint,
        model,
        body: raw,
        kinds,
        max_tokens: measure::max_tokens(body),
        choices: body.get("n").and_then(Node::as_u64).unwrap_or(1),
        messages: body.get("messages").and_then(Node::as_array).map_or(0, <[_]>::len),
    }
}

/// Says why the line's JSON was not read, `offset` bytes into the line.
fn not_json(error: &serde_json::Error, offset: usize, report: &mut Report<'_>) {
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    let byte = offset + error.column();
    if what == TOO_MANY_VALUES {
        let limit = report.policy.max_values;
        report.whole(Code::LineTooLong, format_args!("the line has more than {limit} JSON values"));
        return;
    }
    let way_out = match what {
        "recursion limit exceeded" => ": values may nest 127 deep",
        "lone leading surrogate in hex escape" | "unexpected end of hex escape" => {
            ": \\ud800 to \\udfff mean something only as a pair of high and low"
        }
        "number out of range" => ": numbers must fit 64 bits",
        "trailing characters" => ": each line holds one JSON object and nothing else",
        _ => "",
    };
    report.whole(Code::InvalidJsonLine, format_args!("{what} at byte {byte}{way_out}"));
}

// === impl LinePolicy ===

impl Default for LinePolicy<'_> {
    /// Any endpoint, model and kind of engine. 16 MiB a line, so that its payload and its
    /// result fit one message of the contract; half a million values, more than the 300,000
    /// token ids that OpenAI allows an embedding request; 20 errors, enough to see a pattern.
    fn default() -> Self {
        Self {
            endpoint: None,
            model: None,
            kinds: Kinds::ALL,
            max_line_bytes: 16 << 20,
            max_values: 500_000,
            max_errors: 20,
        }
    }
}
