use std::sync::Arc;

use caravan_planner::intake::{Lines, Piece, Rules, Scan, Scanned, Sharing, leading};
use caravan_request::{
    Defaults, Endpoint, Kinds, Line, LineError, LinePolicy, Outline, merge, output_line, split, strip_bom,
    validate,
};
use serde_json::{Map, Value};

use crate::overlay::overlay;

/// A line as it was cut out: its number, its offset, its bytes unless it is too long.
type Cut = (u64, u64, Option<Vec<u8>>);

/// Any bytes as the input of a batch: whatever blocks they come in, they are the same lines, each a request or refused
/// with its number and a code; and what is a request is one again when it is read where it stands. The first byte
/// chooses rules, the second the length of blocks; by the rules the first line may be the defaults of the others.
pub fn jsonl(bytes: &[u8]) {
    let [choice, block, input @ ..] = bytes else { return };
    let mut rules = rules(*choice, input.len());
    let (mut input, mut defaults) = (input, None);
    if choice & 1 != 0 {
        let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
        let (first, rest) = input.split_at(end);
        let Ok(text) = std::str::from_utf8(first) else { return };
        let Ok(read) = Defaults::parse(text, rules.endpoint) else { return };
        (rules.defaults, defaults) = (Some(Arc::new(read)), serde_json::from_str(text).ok());
        assert!(defaults.is_some(), "defaults are JSON: {text}");
        input = rest.get(1..).unwrap_or_default();
    }
    let lines = lines(input, input.len().max(1), rules.max_line_bytes);
    assert_eq!(cut(input, usize::from(*block) + 1, rules.max_line_bytes), lines);
    let scanned = scan(&rules, &lines);
    for (index, place) in scanned.places.iter().enumerate() {
        let start = usize::try_from(place.offset).unwrap();
        let line = &input[start..start + place.length as usize];
        request(&rules, defaults.as_ref(), u64::from(place.line), line, &scanned, index);
    }
}

fn rules(choice: u8, input: usize) -> Rules {
    let bit = |bit: u8| choice & bit != 0;
    Rules {
        defaults: None,
        endpoint: bit(2).then_some(Endpoint::ChatCompletions),
        model: bit(4).then(|| "m".to_owned()),
        kinds: if bit(8) { Kinds::OLLAMA } else { Kinds::ALL },
        max_line_bytes: if bit(16) { 200 } else { 16 << 20 },
        max_requests: if bit(32) { 3 } else { 1_000 },
        sharing: if bit(64) { Sharing::Opening } else { Sharing::Prefix },
        input_bytes: input as u64,
    }
}

fn cut(input: &[u8], block: usize, limit: usize) -> Vec<Cut> {
    let (mut lines, mut out) = (Lines::new(limit), Vec::new());
    let mut each = |piece: Piece<'_>| out.push((piece.number, piece.offset, piece.bytes.map(<[u8]>::to_vec)));
    for block in input.chunks(block) {
        lines.feed(block, &mut each);
    }
    lines.finish(&mut each);
    out
}

/// The lines of the input, in order, each where it says.
fn lines(input: &[u8], block: usize, limit: usize) -> Vec<Cut> {
    let lines = cut(input, block, limit);
    let expected: Vec<&[u8]> = input.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(lines.len(), expected.len());
    let mut offset = 0;
    for ((index, (number, at, bytes)), line) in lines.iter().enumerate().zip(expected) {
        assert_eq!((*number, *at), (index as u64 + 1, offset));
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        match bytes {
            Some(bytes) => assert_eq!(bytes, text.strip_suffix(b"\r").unwrap_or(text)),
            None => assert!(text.len() > limit),
        }
        offset += line.len() as u64;
    }
    lines
}

fn scan(rules: &Rules, lines: &[Cut]) -> Scanned {
    let mut scan = Scan::new(rules);
    let mut rejected = 0;
    for (number, offset, bytes) in lines {
        let errors = scan.line(Piece { number: *number, offset: *offset, bytes: bytes.as_deref() });
        rejected += u64::from(!errors.is_empty());
        assert!(errors.len() <= LinePolicy::default().max_errors, "{errors:?}");
        errors.iter().for_each(|error| refused(error, *number));
    }
    let scanned = scan.finish();
    assert_eq!(scanned.rejected, rejected);
    assert_eq!(scanned.requests.len(), scanned.places.len());
    match &scanned.fatal {
        Some(fatal) => refused(fatal, fatal.line),
        None => assert_eq!(scanned.total, scanned.requests.len() as u64 + rejected),
    }
    assert!(scanned.places.is_sorted_by(|one, next| one.line < next.line && one.offset < next.offset));
    assert!(scanned.requests.iter().all(|request| (request.group as usize) < scanned.classes.len()));
    scanned
}

/// An error names its line, and its own line in the error file is one.
fn refused(error: &LineError, number: u64) {
    assert_eq!(error.line, number);
    assert!(!error.message.is_empty() && error.message.len() <= crate::MESSAGE, "{error}");
    one_line(&error.to_error_line("id"));
}

fn one_line(line: &str) {
    assert!(!line.contains(['\r', '\n']), "{line}");
    let value: Value = serde_json::from_str(line).unwrap();
    assert!(value.is_object(), "{line}");
}

/// A line that was taken is taken again, and what is made of it means the same.
fn request(
    rules: &Rules,
    defaults: Option<&Map<String, Value>>,
    number: u64,
    bytes: &[u8],
    scanned: &Scanned,
    index: usize,
) {
    let policy = LinePolicy {
        endpoint: rules.endpoint,
        model: rules.model.as_deref(),
        kinds: rules.kinds,
        max_line_bytes: rules.max_line_bytes,
        ..LinePolicy::default()
    };
    assert_eq!(strip_bom(bytes), bytes, "a byte order mark is no part of a line");
    let mut whole = String::new();
    let line = match &rules.defaults {
        Some(defaults) => defaults.validate(number, bytes, &policy, &mut whole),
        None => validate(number, bytes, &policy),
    };
    let line = line.unwrap_or_else(|errors| panic!("not taken again: {errors:?}"));
    let class = scanned.classes[scanned.requests[index].group as usize];
    assert_eq!((class.endpoint, class.kinds), (line.endpoint, line.kinds));
    assert_eq!(scanned.models[class.model as usize], line.model);
    let body: Map<String, Value> = serde_json::from_str(line.body).unwrap();
    if let Some(defaults) = defaults {
        let own: Map<String, Value> = serde_json::from_slice(bytes).unwrap();
        let own = own.get("body").and_then(Value::as_object).unwrap();
        assert_eq!(body, overlay(defaults, own));
    }
    parts(&line, &body);
    let answer = output_line("id", &line.custom_id, 200, "request", line.body, None);
    one_line(&answer);
}

/// A body in two parts is the body, wherever it is cut.
fn parts(line: &Line<'_>, body: &Map<String, Value>) {
    let outline = Outline::of(line.body).unwrap();
    assert_eq!(outline.messages.len(), line.messages);
    for shared in [0, leading(&outline), outline.messages.len() + 1] {
        let parts = split(line.body, shared).unwrap();
        assert_eq!(&merge(&parts.head, &parts.own).unwrap(), body, "{shared} shared");
    }
    assert_eq!(split(line.body, 0).unwrap().head, outline.head);
}
