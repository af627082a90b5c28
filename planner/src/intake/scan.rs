use std::{collections::HashMap, num::NonZeroU32, sync::Arc};

use caravan_plan::Request;
use caravan_prefix::{
    Sketch,
    volatile::{Finding, Limits, Watch},
};
use caravan_request::{
    Code, Defaults, Dialect, Endpoint, Kinds, Line, LineError, LinePolicy, Outline, Texts,
};

use super::{Ids, Paths, Piece, Sharing};

/// What lines must comply with.
#[derive(Debug, Clone)]
pub struct Rules {
    /// What the batch's lines are laid over.
    pub defaults: Option<Arc<Defaults>>,
    /// The endpoint that the batch names.
    pub endpoint: Option<Endpoint>,
    /// The model that the batch names.
    pub model: Option<String>,
    /// Kinds of engine in the fleet.
    pub kinds: Kinds,
    /// Bytes of a line at most.
    pub max_line_bytes: usize,
    /// Requests of a file at most.
    pub max_requests: u64,
    /// What requests may share that are answered with text.
    pub sharing: Sharing,
    /// Bytes of the input: the sketch's size follows from them.
    pub input_bytes: u64,
}

/// Where a request stands in the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// First byte of its line.
    pub offset: u64,
    /// Bytes of its line, without the line end.
    pub length: u32,
    /// Number of its line, from 1.
    pub line: u32,
}

/// What tells requests apart before anything of their prompts does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Class {
    /// Index into `Scanned::models`.
    pub model: u32,
    /// Endpoint of all of them.
    pub endpoint: Endpoint,
    /// Kinds of engine that honour all their fields.
    pub kinds: Kinds,
}

/// What a whole input came to. Memory a request: 20 bytes of record, 16 of place, and
/// while scanning up to 30 of `custom_id` hashes; beside them the sketch, at most 32 MiB.
#[derive(Debug, Default)]
pub struct Scanned {
    /// Valid requests, in input order. Until they are grouped, `group` is an index into `classes`,
    /// and their tokens are not counted.
    pub requests: Vec<Request>,
    /// Where each stands.
    pub places: Vec<Place>,
    /// Classes, in the order of their first request.
    pub classes: Vec<Class>,
    /// Models, in the order of their first request.
    pub models: Vec<String>,
    /// Where prompts part.
    pub sketch: Option<Sketch>,
    /// Beginnings that ruin the reuse of what follows.
    pub volatile: Vec<Finding>,
    /// Non-empty lines.
    pub total: u64,
    /// Of those, lines that are wrong.
    pub rejected: u64,
    /// What rejects the file whatever the policy says.
    pub fatal: Option<LineError>,
}

/// Reads lines. Give it every line in order, then `finish`. Holds one line written out in full
/// if there are defaults: as long as the longest line with them.
pub struct Scan<'a> {
    rules: &'a Rules,
    policy: LinePolicy<'a>,
    out: Scanned,
    sketch: Sketch,
    volatile: Watch,
    paths: Paths,
    by_class: HashMap<Class, u32>,
    by_model: HashMap<String, u32>,
    custom_ids: Ids,
    whole: String,
}

// === impl Scan ===

impl<'a> Scan<'a> {
    /// A scan under `rules`.
    #[must_use]
    pub fn new(rules: &'a Rules) -> Self {
        let policy = LinePolicy {
            endpoint: rules.endpoint,
            model: rules.model.as_deref(),
            kinds: rules.kinds,
            max_line_bytes: rules.max_line_bytes,
            ..LinePolicy::default()
        };
        let (sketch, volatile) = (Sketch::for_input(rules.input_bytes), Watch::new(Limits::default()));
        let (out, paths, by_class, by_model, custom_ids, whole) = Default::default();
        Self { rules, policy, out, sketch, volatile, paths, by_class, by_model, custom_ids, whole }
    }

    /// Takes the next line; gives what is wrong with it.
    pub fn line(&mut self, piece: Piece<'_>) -> Vec<LineError> {
        let bytes = match (piece.number, piece.bytes) {
            (1, Some(bytes)) => Some(caravan_request::strip_bom(bytes)),
            (_, bytes) => bytes,
        };
        if bytes.is_some_and(caravan_request::is_blank) || self.out.fatal.is_some() {
            return Vec::new();
        }
        self.out.total += 1;
        if self.out.total > self.rules.max_requests {
            self.out.fatal = Some(LineError::too_many_requests(piece.number, self.rules.max_requests));
            return Vec::new();
        }
        let errors = match (piece, bytes) {
            (Piece { number: 1, .. }, Some(bytes)) if caravan_request::looks_compressed(bytes).is_some() => {
                let format = caravan_request::looks_compressed(bytes).unwrap_or_default();
                self.out.fatal = Some(LineError::compressed(format));
                return Vec::new();
            }
            (piece, Some(bytes)) => {
                let mut whole = std::mem::take(&mut self.whole);
                let errors = self.request(piece, bytes, &mut whole).err().unwrap_or_default();
                self.whole = whole;
                errors
            }
            (piece, None) => vec![LineError::line_too_long(piece.number, self.rules.max_line_bytes)],
        };
        self.out.rejected += u64::from(!errors.is_empty());
        errors
    }

    /// The input has ended.
    #[must_use]
    pub fn finish(mut self) -> Scanned {
        if self.out.total == 0 {
            self.out.fatal = Some(LineError::empty_file());
        }
        self.out.sketch = Some(self.sketch);
        self.out.volatile = self.volatile.findings();
        self.out
    }

    fn request(&mut self, piece: Piece<'_>, bytes: &[u8], whole: &mut String) -> Result<(), Vec<LineError>> {
        // The policy borrows the rules only; a line borrows its bytes.
        let policy: LinePolicy<'_> = self.policy;
        let line = match &self.rules.defaults {
            Some(defaults) => defaults.validate(piece.number, bytes, &policy, whole)?,
            None => caravan_request::validate(piece.number, bytes, &policy)?,
        };
        if !self.custom_ids.insert(caravan_request::content_hash(line.custom_id.as_bytes())) {
            return Err(vec![LineError::duplicate_custom_id(piece.number, &line.custom_id, None)]);
        }
        let outline = Outline::of(line.body).map_err(|error| unsplit(&line, &error))?;
        let class = Class { model: self.model(&line.model), endpoint: line.endpoint, kinds: line.kinds };
        let class = self.class(class);
        let sharing = self.rules.sharing_of(line.endpoint);
        self.sketch.see(self.paths.of(class, &outline, sharing));
        if sharing != Sharing::Nothing && !outline.messages.is_empty() {
            let root = caravan_request::content_hash(outline.head.as_bytes()) as u64 ^ u64::from(class);
            self.volatile.see(root, outline.messages.iter().map(|message| beginning(&message.texts)));
        }
        self.out.requests.push(Request {
            group: class,
            prompt_tokens: 0,
            prompt_tokens_low: 0,
            answer_tokens: line.max_tokens.and_then(|tokens| NonZeroU32::new(narrow(tokens))),
            bytes: narrow((line.body.len() + line.custom_id.len()) as u64),
        });
        let (length, line) = (narrow(bytes.len() as u64), narrow(piece.number));
        // A byte order mark stands before the first line and is no part of it.
        let offset = piece.offset + (piece.bytes.map_or(0, <[u8]>::len) - bytes.len()) as u64;
        self.out.places.push(Place { offset, length, line });
        Ok(())
    }

    fn model(&mut self, name: &str) -> u32 {
        if let Some(index) = self.by_model.get(name) {
            return *index;
        }
        let index = narrow(self.out.models.len() as u64);
        self.out.models.push(name.to_owned());
        self.by_model.insert(name.to_owned(), index);
        index
    }

    fn class(&mut self, class: Class) -> u32 {
        let next = narrow(self.out.classes.len() as u64);
        let index = *self.by_class.entry(class).or_insert(next);
        if index == next {
            self.out.classes.push(class);
        }
        index
    }
}

// === impl Rules ===

impl Rules {
    /// What requests to an endpoint may share.
    #[must_use]
    pub fn sharing_of(&self, endpoint: Endpoint) -> Sharing {
        if endpoint.is_embedding() { Sharing::Nothing } else { self.sharing }
    }
}

fn beginning(texts: &Texts) -> &[u8] {
    texts.texts.first().map_or(&[], String::as_bytes)
}

fn unsplit(line: &Line<'_>, error: &serde_json::Error) -> Vec<LineError> {
    let form = if line.endpoint.dialect() == Dialect::OpenAi { "OpenAI's" } else { "Ollama's" };
    vec![LineError {
        line: line.number,
        custom_id: Some(line.custom_id.clone().into_owned()),
        code: Code::InvalidType,
        param: Some("body".to_owned()),
        message: format!("the body is not a request in {form} form: {error}"),
    }]
}

fn narrow(wide: u64) -> u32 {
    u32::try_from(wide).unwrap_or(u32::MAX)
}
