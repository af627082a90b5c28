use std::fmt;

use crate::{Code, Kinds, LineError, LinePolicy, json::Node, path::Path};

/// Gathers what is wrong with one line, and which kinds of engine honour all of it.
pub(crate) struct Report<'p> {
    pub(crate) policy: &'p LinePolicy<'p>,
    /// Kinds of the fleet that honour everything seen so far.
    pub(crate) kinds: Kinds,
    line: u64,
    errors: Vec<LineError>,
}

// === impl Report ===

impl<'p> Report<'p> {
    pub(crate) fn new(line: u64, policy: &'p LinePolicy<'p>) -> Self {
        Self { policy, kinds: policy.kinds, line, errors: Vec::new() }
    }

    /// The errors, each with the line's `custom_id`; empty if the line is good.
    pub(crate) fn finish(mut self, custom_id: Option<&str>) -> Vec<LineError> {
        for error in &mut self.errors {
            error.custom_id = custom_id.map(str::to_owned);
        }
        self.errors
    }

    /// Whether the line has as many errors as are worth naming.
    pub(crate) fn is_full(&self) -> bool {
        self.errors.len() >= self.policy.max_errors.max(1)
    }

    /// An error of the line as a whole.
    pub(crate) fn whole(&mut self, code: Code, message: impl fmt::Display) {
        self.push(code, None, message.to_string());
    }

    /// An error of one field.
    pub(crate) fn field(&mut self, code: Code, path: &Path<'_>, message: impl fmt::Display) {
        if !self.is_full() {
            self.push(code, Some(path.to_string()), message.to_string());
        }
    }

    pub(crate) fn missing(&mut self, path: &Path<'_>) {
        self.field(Code::MissingRequiredParameter, path, format_args!("{path} is required"));
    }

    pub(crate) fn wrong_type(&mut self, path: &Path<'_>, expected: &str, found: &Node<'_>) {
        let found = found.type_name();
        self.field(Code::InvalidType, path, format_args!("{path} must be {expected}, not {found}"));
    }

    pub(crate) fn invalid(&mut self, path: &Path<'_>, why: impl fmt::Display) {
        self.field(Code::InvalidValue, path, format_args!("{path} {why}"));
    }

    pub(crate) fn unsupported(&mut self, path: &Path<'_>, why: impl fmt::Display) {
        self.field(Code::UnsupportedParameter, path, format_args!("{path} {why}"));
    }

    /// What stands at `path` is honoured by `kinds` alone: an error if the fleet has none of
    /// them, or none that honours the rest of the line as well.
    pub(crate) fn restrict(&mut self, kinds: Kinds, path: &Path<'_>) {
        let fleet = self.policy.kinds;
        if fleet.and(kinds).is_empty() {
            let why = format_args!(
                "is not honoured by the engines of this fleet ({fleet}), only by: {kinds}; leave it out"
            );
            self.unsupported(path, why);
        } else if self.kinds.and(kinds).is_empty() {
            let why = format_args!(
                "is honoured only by engines of kind {kinds}, which do not honour the rest of the line"
            );
            self.unsupported(path, why);
        } else {
            self.kinds = self.kinds.and(kinds);
        }
    }

    fn push(&mut self, code: Code, param: Option<String>, message: String) {
        self.errors.push(LineError { line: self.line, custom_id: None, code, param, message });
    }
}
