use caravan_prefix::Step;
use caravan_request::Outline;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::counter::{Counter, Seen};
use crate::intake::{Class, Paths, Rules, leading};

/// Bytes of lines that a thread takes at once: enough to make handing them over cheap.
const BATCH_BYTES: usize = 512 * 1_024;

/// Lines for one thread: `BATCH_BYTES` of them written out in full, and the last one whole.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// Bytes of the lines written out in full.
    whole: usize,
    /// The class of each line, and where it ends in `bytes`.
    lines: Vec<(u32, usize)>,
}

/// What the lines of a batch came to, in their order.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) requests: Vec<CountedRequest>,
    steps: Vec<Step>,
    marks: Vec<Mark>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct CountedRequest {
    pub(super) class: u32,
    pub(super) prompt_tokens: u32,
    pub(super) prompt_tokens_low: u32,
    /// Bytes of the head without messages.
    pub(super) head_bytes: u32,
    /// Messages before the last.
    pub(super) leading: u32,
    /// Bytes of the whole path.
    pub(super) path_bytes: u32,
    steps_end: usize,
    marks_end: usize,
}

/// The end of a message, or of what stands before the first.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mark {
    /// Bytes of the path up to here.
    pub(super) bytes: u32,
    /// Tokens up to here.
    pub(super) tokens: u32,
}

/// What a thread needs to know.
pub(super) struct Work {
    pub(super) rules: Rules,
    pub(super) classes: Vec<Class>,
    /// By model.
    pub(super) counters: Vec<Counter>,
}

/// The body of a line that was validated before.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    body: &'a RawValue,
}

// === impl Batch ===

impl Batch {
    pub(super) fn push(&mut self, class: u32, line: &[u8], defaults: usize) {
        self.whole += line.len() + defaults;
        self.bytes.extend_from_slice(line);
        self.lines.push((class, self.bytes.len()));
    }

    pub(super) fn is_full(&self) -> bool {
        self.whole >= BATCH_BYTES
    }

    /// Counts every line. `None` if one does not read as it did before.
    pub(super) fn count(&self, work: &Work, seen: &mut Seen) -> Option<Counted> {
        let mut counted = Counted::default();
        let mut paths = Paths::default();
        let mut start = 0;
        let mut whole = String::new();
        for &(class, end) in &self.lines {
            let line = self.bytes.get(start..end)?;
            start = end;
            let defaults = work.rules.defaults.as_deref();
            let line = defaults.map_or(line, |defaults| defaults.expand(line, &mut whole));
            let envelope: Envelope<'_> = serde_json::from_slice(line).ok()?;
            counted.take(class, envelope.body.get(), work, &mut paths, seen)?;
        }
        Some(counted)
    }
}

// === impl Counted ===

impl Counted {
    fn take(
        &mut self,
        number: u32,
        body: &str,
        work: &Work,
        paths: &mut Paths,
        seen: &mut Seen,
    ) -> Option<()> {
        let outline = Outline::of(body).ok()?;
        let class = work.classes.get(number as usize)?;
        let sharing = work.rules.sharing_of(class.endpoint);
        self.steps.extend_from_slice(paths.of(number, &outline, sharing));
        let mut bytes = outline.preamble.bytes();
        let mut messages = outline.messages.iter();
        let marks = &mut self.marks;
        let counter = work.counters.get(class.model as usize)?;
        let count = counter.count(class, &outline, seen, |tokens| {
            marks.push(Mark { bytes: narrow(bytes), tokens: narrow(tokens) });
            bytes += messages.next().map_or(0, |message| message.raw.len() as u64);
        });
        self.requests.push(CountedRequest {
            class: number,
            prompt_tokens: narrow(count.likely.max(1)),
            prompt_tokens_low: narrow(count.low.max(1)),
            head_bytes: narrow(outline.head.len() as u64),
            leading: narrow(leading(&outline) as u64),
            path_bytes: self.steps.last().map_or(0, |step| step.bytes),
            steps_end: self.steps.len(),
            marks_end: self.marks.len(),
        });
        Some(())
    }

    /// Each request with its steps and marks.
    pub(super) fn each(&self) -> impl Iterator<Item = (&CountedRequest, &[Step], &[Mark])> {
        let mut start = (0, 0);
        self.requests.iter().map(move |request| {
            let (steps, marks) = (start.0..request.steps_end, start.1..request.marks_end);
            start = (request.steps_end, request.marks_end);
            let steps = self.steps.get(steps).unwrap_or_default();
            (request, steps, self.marks.get(marks).unwrap_or_default())
        })
    }
}

fn narrow(wide: u64) -> u32 {
    u32::try_from(wide).unwrap_or(u32::MAX)
}
