use std::ops::RangeInclusive;

use crate::{
    EngineKind, Kinds,
    json::Node,
    path::{Path, Quoted},
    report::Report,
};

/// One field that an object of a request may have: who honours it, and what it must be.
#[derive(Debug)]
pub struct Field {
    name: &'static str,
    required: bool,
    honoured: Honoured,
    shape: Shape,
}

/// What becomes of a field on its way to an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// It is sent, in the engine's own words.
    Sent,
    /// It is accepted and has nothing to say to an engine.
    NotSent,
    /// It cannot be honoured.
    Unsupported,
}

#[derive(Debug)]
enum Honoured {
    By(Kinds),
    NotSent,
    Refused(&'static str),
}

/// What a value must be.
#[derive(Debug)]
pub(crate) enum Shape {
    Any,
    Bool,
    Text,
    AnyObject,
    Integer(RangeInclusive<i64>),
    Number(RangeInclusive<f64>),
    OneOf(&'static [&'static str]),
    Object(&'static [Field]),
    Check(fn(&Node<'_>, &Path<'_>, &mut Report<'_>)),
}

/// An integer from 1.
pub(crate) const POSITIVE: Shape = Shape::Integer(1..=i64::MAX);

/// Any integer that an engine can hold.
pub(crate) const INTEGER: Shape = Shape::Integer(i64::MIN..=i64::MAX);

// === impl Field ===

impl Field {
    pub(crate) const fn new(name: &'static str, kinds: Kinds, shape: Shape) -> Self {
        Self { name, required: false, honoured: Honoured::By(kinds), shape }
    }

    pub(crate) const fn required(name: &'static str, shape: Shape) -> Self {
        Self { name, required: true, honoured: Honoured::By(Kinds::ALL), shape }
    }

    pub(crate) const fn not_sent(name: &'static str, shape: Shape) -> Self {
        Self { name, required: false, honoured: Honoured::NotSent, shape }
    }

    /// No engine honours it; `why` ends the sentence that starts with the field's path.
    pub(crate) const fn refused(name: &'static str, why: &'static str) -> Self {
        Self { name, required: false, honoured: Honoured::Refused(why), shape: Shape::Any }
    }

    /// Its name in the JSON object.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// What becomes of it for an engine of `kind`. Of a field that is sent, single values
    /// may still be beyond a kind: validation knows those too.
    #[must_use]
    pub const fn treatment(&self, kind: EngineKind) -> Treatment {
        match &self.honoured {
            Honoured::By(kinds) if kinds.contains(kind) => Treatment::Sent,
            Honoured::By(_) | Honoured::Refused(_) => Treatment::Unsupported,
            Honoured::NotSent => Treatment::NotSent,
        }
    }

    /// Checks a value of this field; null is as good as absent, which `check_object` judges.
    fn check(&self, value: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
        match &self.honoured {
            Honoured::Refused(why) => return report.unsupported(path, why),
            Honoured::By(kinds) => report.restrict(*kinds, path),
            Honoured::NotSent => {}
        }
        self.shape.check(value, path, report);
    }
}

/// Checks that `node` is an object with fields of `table` only, each of its shape, and with
/// all that are required.
pub(crate) fn check_object(node: &Node<'_>, path: &Path<'_>, table: &[Field], report: &mut Report<'_>) {
    let Node::Object(entries) = node else {
        return report.wrong_type(path, "an object", node);
    };
    for (key, value) in entries {
        let here = path.key(key);
        match table.iter().find(|field| field.name == key) {
            _ if report.is_full() => return,
            None => report.unsupported(&here, "is not known: leave it out"),
            Some(_) if matches!(value, Node::Null) => {}
            Some(field) => field.check(value, &here, report),
        }
    }
    for field in table.iter().filter(|field| field.required) {
        if node.get(field.name).is_none() {
            report.missing(&path.key(field.name));
        }
    }
}

// === impl Shape ===

impl Shape {
    pub(crate) fn check(&self, node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
        match (self, node) {
            (Self::Any, _)
            | (Self::Bool, Node::Bool(_))
            | (Self::Text, Node::Text(_))
            | (Self::AnyObject, Node::Object(_)) => {}
            (Self::Bool, _) => report.wrong_type(path, "a boolean", node),
            (Self::Text, _) => report.wrong_type(path, "a string", node),
            (Self::AnyObject, _) => report.wrong_type(path, "an object", node),
            (Self::Integer(range), _) => check_integer(node, path, range, report),
            (Self::Number(range), _) => check_number(node, path, range, report),
            (Self::OneOf(values), Node::Text(text)) if values.contains(&text.as_ref()) => {}
            (Self::OneOf(values), Node::Text(text)) => {
                report.invalid(path, format_args!("is {}, not one of: {}", Quoted(text), values.join(", ")));
            }
            (Self::OneOf(_), _) => report.wrong_type(path, "a string", node),
            (Self::Object(table), _) => check_object(node, path, table, report),
            (Self::Check(check), _) => check(node, path, report),
        }
    }
}

fn check_integer(node: &Node<'_>, path: &Path<'_>, range: &RangeInclusive<i64>, report: &mut Report<'_>) {
    let Node::Number(number) = node else {
        return report.wrong_type(path, "an integer", node);
    };
    match number.as_i64() {
        Some(value) if range.contains(&value) => {}
        None if number.is_f64() => {
            report.wrong_type(path, "an integer without fraction or exponent", node);
        }
        _ if *range.end() == i64::MAX && *range.start() > i64::MIN => {
            report.invalid(path, format_args!("is {number}, but must be from {} up", range.start()));
        }
        _ => {
            let (low, high) = (range.start(), range.end());
            report.invalid(path, format_args!("is {number}, but must be from {low} to {high}"));
        }
    }
}

fn check_number(node: &Node<'_>, path: &Path<'_>, range: &RangeInclusive<f64>, report: &mut Report<'_>) {
    let Node::Number(number) = node else {
        return report.wrong_type(path, "a number", node);
    };
    if !number.as_f64().is_some_and(|value| range.contains(&value)) {
        let (low, high) = (range.start(), range.end());
        let bounds =
            if high.is_finite() { format!("from {low} to {high}") } else { format!("from {low} up") };
        report.invalid(path, format_args!("is {number}, but must be {bounds}"));
    }
}
