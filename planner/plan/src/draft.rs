use crate::{
    Bytes, Chunk, Head, Input, Tokens,
    size::{Size, Sizer},
    spread::Load,
};

/// The plan as it grows: chunks are cut one after the other, each filled and closed.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) order: Vec<u32>,
    pub(crate) chunks: Vec<Chunk>,
    pub(crate) prefix_evaluations: u64,
    /// Requests larger than a payload, each alone in its chunk.
    pub(crate) too_large: u64,
    /// Requests longer than a conversation's budget, each alone in its chunk.
    pub(crate) too_long: u64,
    input: Input<'a>,
    pub(crate) sizer: Sizer<'a>,
}

/// What holds for every chunk of more than one request of one model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) requests: u32,
    pub(crate) bytes: u64,
    pub(crate) work: u64,
    /// A share of so little work is one chunk: cut or not, it does not change when the batch ends.
    pub(crate) small: u64,
}

/// A request about to be put into a chunk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item {
    pub(crate) ordinal: u32,
    pub(crate) size: Size,
    pub(crate) work: u64,
    /// Prompt tokens that it evaluates on a lane that has read what is kept.
    evaluated: u64,
    bytes: u64,
}

/// The chunk being filled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Open {
    pub(crate) requests: u32,
    /// Of the requests, without the prefix.
    pub(crate) work: u64,
    /// Tokens of all exchanges.
    pub(crate) exchanges: u64,
    longest: u64,
    evaluated: u64,
    bytes: u64,
    prefix_tokens: u64,
    prefix_work: u64,
}

/// Where a closed chunk belongs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) share: u32,
    pub(crate) position: u32,
    /// Context that it needs, in tokens, before it is capped to the slot's.
    pub(crate) context: u64,
    /// Work from here to the end of the share.
    pub(crate) left: u64,
}

// === impl Open ===

impl Open {
    /// An empty chunk; a cold one evaluates the group's prefix.
    pub(crate) fn new(head: &Head, load: &Load, cold: bool) -> Self {
        let (prefix_tokens, prefix_work) = if cold { (load.kept_tokens(), load.prefix()) } else { (0, 0) };
        let bytes = head.bytes.into();
        let (requests, work, exchanges, longest, evaluated) = Default::default();
        Self { requests, work, exchanges, longest, evaluated, bytes, prefix_tokens, prefix_work }
    }

    /// Whether the chunk with one request more stays within bounds; its first always does.
    pub(crate) fn admits(&self, item: &Item, bounds: &Bounds) -> bool {
        let work = self.prefix_work.saturating_add(self.work).saturating_add(item.work);
        self.requests == 0
            || (self.requests < bounds.requests
                && self.bytes + item.bytes <= bounds.bytes
                && work <= bounds.work)
    }

    /// Longest request, without the prefix.
    pub(crate) fn longest(&self) -> u64 {
        self.longest
    }
}

// === impl Draft ===

impl<'a> Draft<'a> {
    pub(crate) fn new(input: Input<'a>, sizer: Sizer<'a>, requests: usize) -> Self {
        Self {
            order: Vec::with_capacity(requests),
            chunks: Vec::new(),
            prefix_evaluations: 0,
            too_large: 0,
            too_long: 0,
            input,
            sizer,
        }
    }

    /// A request of the group, sized. `None` for an ordinal that the input does not have.
    pub(crate) fn item(&self, ordinal: u32, head: &Head, load: &Load) -> Option<Item> {
        let request = self.input.requests.get(ordinal as usize)?;
        let size = self.sizer.of(request, head);
        let evaluated = load.evaluated(size);
        let work = load.pace.work(1, evaluated, size.output);
        // Whatever is kept, an engine evaluates the last token of a prompt.
        let evaluated = evaluated.max(1);
        Some(Item { ordinal, size, work, evaluated, bytes: request.bytes.into() })
    }

    pub(crate) fn push(&mut self, open: &mut Open, item: &Item, bounds: &Bounds) {
        self.order.push(item.ordinal);
        open.requests += 1;
        open.work = open.work.saturating_add(item.work);
        open.exchanges = open.exchanges.saturating_add(item.size.exchange());
        open.longest = open.longest.max(item.size.exchange());
        open.evaluated = open.evaluated.saturating_add(item.evaluated);
        open.bytes += item.bytes;
        self.too_large += u64::from(open.requests == 1 && open.bytes > bounds.bytes);
    }

    /// Ends the chunk; an empty one leaves nothing.
    pub(crate) fn close(&mut self, open: &Open, load: &Load, place: Place) {
        if open.requests == 0 {
            return;
        }
        let end = self.order.len() as u32;
        self.prefix_evaluations += u64::from(open.prefix_tokens > 0);
        self.chunks.push(Chunk {
            group: load.group,
            share: place.share,
            position: place.position,
            start: end - open.requests,
            end,
            prompt_tokens: Tokens(open.prefix_tokens.saturating_add(open.evaluated)),
            context_needed: Tokens(place.context.min(self.input.context(load.model).0)),
            bytes: Bytes(open.bytes),
            estimated: load.pace.time_of(open.prefix_work.saturating_add(open.work)),
            worth_stealing: open.prefix_tokens > 0 || place.left >= load.prefix(),
        });
    }
}
