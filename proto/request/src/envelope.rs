use std::{borrow::Cow, cell::Cell, fmt};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::{
    Code, Endpoint,
    json::{Key, Node, Seed, refuse_twins},
    path::{Path, Quoted},
    report::Report,
};

/// One line as it stands: its own fields read, the body still text.
#[derive(Debug, Default)]
pub(crate) struct Envelope<'a> {
    custom_id: Option<Node<'a>>,
    method: Option<Node<'a>>,
    url: Option<Node<'a>>,
    pub(crate) body: Option<&'a RawValue>,
    unknown: Vec<Cow<'a, str>>,
}

/// Bytes of a `custom_id` at most: it is repeated in payloads, results and outputs.
const MAX_CUSTOM_ID: usize = 512;

// === impl Envelope ===

impl<'a> Envelope<'a> {
    pub(crate) fn parse(text: &'a str, budget: &Cell<usize>) -> serde_json::Result<Self> {
        let mut json = serde_json::Deserializer::from_str(text);
        let envelope = EnvelopeSeed(budget).deserialize(&mut json)?;
        json.end()?;
        Ok(envelope)
    }

    /// Checks everything but the body; gives the endpoint if the URL names one.
    pub(crate) fn check(&self, report: &mut Report<'_>) -> Option<Endpoint> {
        self.check_custom_id(report);
        self.check_method(report);
        let endpoint = self.check_url(report);
        if self.body.is_none() {
            report.missing(&Path::root("body"));
        }
        for key in &self.unknown {
            let path = Path::root(key);
            report.unsupported(&path, "is not known: a line has custom_id, method, url and body");
        }
        endpoint
    }

    /// The `custom_id`, if it may stand in answers.
    pub(crate) fn custom_id(&self) -> Option<&str> {
        let id = self.custom_id.as_ref().and_then(Node::as_text)?;
        why_invalid(id).is_none().then_some(id)
    }

    /// The `custom_id` of a checked envelope.
    pub(crate) fn into_custom_id(self) -> Option<Cow<'a, str>> {
        match self.custom_id {
            Some(Node::Text(id)) => Some(id),
            _ => None,
        }
    }

    fn check_custom_id(&self, report: &mut Report<'_>) {
        let path = Path::root("custom_id");
        if let Some(why) = text_of(&self.custom_id, &path, report).and_then(why_invalid) {
            report.invalid(&path, why);
        }
    }

    fn check_method(&self, report: &mut Report<'_>) {
        let path = Path::root("method");
        if let Some(method) = text_of(&self.method, &path, report).filter(|method| *method != "POST") {
            let why = format_args!("method is {}: only POST is supported", Quoted(method));
            report.field(Code::UnsupportedMethod, &path, why);
        }
    }

    fn check_url(&self, report: &mut Report<'_>) -> Option<Endpoint> {
        let path = Path::root("url");
        let url = text_of(&self.url, &path, report)?;
        let Some(endpoint) = Endpoint::parse(url) else {
            let known = Endpoint::ALL.map(Endpoint::as_str).join(", ");
            let why = format_args!("url is {}, not one of: {known}", Quoted(url));
            report.field(Code::UnsupportedUrl, &path, why);
            return None;
        };
        if let Some(expected) = report.policy.endpoint.filter(|expected| *expected != endpoint) {
            let why = format_args!("url is {url}, but the batch is for {expected}");
            report.field(Code::UrlMismatch, &path, why);
        }
        Some(endpoint)
    }
}

fn text_of<'n>(node: &'n Option<Node<'_>>, path: &Path<'_>, report: &mut Report<'_>) -> Option<&'n str> {
    match node {
        None | Some(Node::Null) => report.missing(path),
        Some(Node::Text(text)) => return Some(text),
        Some(other) => report.wrong_type(path, "a string", other),
    }
    None
}

fn why_invalid(custom_id: &str) -> Option<&'static str> {
    if custom_id.is_empty() {
        Some("is empty")
    } else if custom_id.len() > MAX_CUSTOM_ID {
        Some("is longer than 512 bytes")
    } else if custom_id.chars().any(char::is_control) {
        Some("has control characters")
    } else {
        None
    }
}

// === impl EnvelopeSeed ===

struct EnvelopeSeed<'b>(&'b Cell<usize>);

impl<'de> DeserializeSeed<'de> for EnvelopeSeed<'_> {
    type Value = Envelope<'de>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EnvelopeSeed<'_> {
    type Value = Envelope<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one JSON object a line")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut envelope = Envelope::default();
        let mut keys = Vec::with_capacity(4);
        while let Some(key) = entries.next_key_seed(Key)? {
            let seed = Seed(self.0);
            match key.as_ref() {
                "custom_id" => envelope.custom_id = Some(entries.next_value_seed(seed)?),
                "method" => envelope.method = Some(entries.next_value_seed(seed)?),
                "url" => envelope.url = Some(entries.next_value_seed(seed)?),
                "body" => envelope.body = Some(entries.next_value()?),
                _ => {
                    entries.next_value_seed(seed)?;
                    seed.spend()?;
                    envelope.unknown.push(key.clone());
                }
            }
            keys.push((key, ()));
        }
        refuse_twins(&keys)?;
        Ok(envelope)
    }
}
