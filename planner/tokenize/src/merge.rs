use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Up to as many symbols, looking at all of them for the best join beats keeping a queue.
const FEW: usize = 48;
/// No symbol, or no token.
pub(crate) const NONE: u32 = u32::MAX;

/// Joins neighbouring symbols of a word, best rank first, leftmost first among equals, until no two
/// can be joined: O(n log n) in the word's symbols.
#[derive(Default)]
pub(crate) struct Merger {
    symbols: Vec<Symbol>,
    queue: BinaryHeap<Reverse<Candidate>>,
}

/// A part of the word.
#[derive(Clone, Copy)]
pub(crate) struct Symbol {
    /// Where it starts, in bytes of the word.
    pub(crate) start: u32,
    /// Where it ends.
    pub(crate) end: u32,
    /// What it is; [`NONE`] if it is no token.
    pub(crate) id: u32,
    /// What joining it with the next one gives, and its rank; [`NONE`] if they cannot be joined.
    join: Join,
    before: u32,
    after: u32,
}

/// What two symbols become, and how soon: lower ranks are joined first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Join {
    pub(crate) rank: u32,
    pub(crate) id: u32,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    rank: u32,
    left: u32,
    right: u32,
    id: u32,
    end: u32,
}

// === impl Merger ===

impl Merger {
    pub(crate) fn clear(&mut self) {
        self.symbols.clear();
    }

    /// Add the word's next symbol.
    pub(crate) fn push(&mut self, start: usize, end: usize, id: u32) {
        let bounded = |at: usize| u32::try_from(at).unwrap_or(NONE);
        let (start, end) = (bounded(start), bounded(end));
        self.symbols.push(Symbol { start, end, id, join: Join::NONE, before: NONE, after: NONE });
    }

    /// Join what can be joined; `join` tells what two neighbours become.
    pub(crate) fn merge(&mut self, join: impl Fn(&Symbol, &Symbol) -> Option<Join>) -> &[Symbol] {
        if self.symbols.len() <= FEW {
            self.merge_few(join)
        } else {
            self.merge_many(join)
        }
        &self.symbols
    }

    fn merge_few(&mut self, join: impl Fn(&Symbol, &Symbol) -> Option<Join>) {
        let symbols = &mut self.symbols;
        let joined = |symbols: &[Symbol], left: usize| match symbols.get(left..left + 2) {
            Some([left, right]) => join(left, right).unwrap_or(Join::NONE),
            _ => Join::NONE,
        };
        for left in 0..symbols.len() {
            symbols[left].join = joined(symbols, left);
        }
        loop {
            let mut best = (NONE, 0);
            for (at, symbol) in symbols.iter().enumerate() {
                if symbol.join.rank < best.0 {
                    best = (symbol.join.rank, at);
                }
            }
            let (rank, left) = best;
            if rank == NONE {
                return;
            }
            let right = symbols.remove(left + 1);
            symbols[left].end = right.end;
            symbols[left].id = symbols[left].join.id;
            symbols[left].join = joined(symbols, left);
            if left > 0 {
                symbols[left - 1].join = joined(symbols, left - 1);
            }
        }
    }

    fn merge_many(&mut self, join: impl Fn(&Symbol, &Symbol) -> Option<Join>) {
        let Self { symbols, queue } = self;
        queue.clear();
        let count = u32::try_from(symbols.len()).unwrap_or(NONE);
        let candidate = |symbols: &[Symbol], left: u32, right: u32| {
            let end = symbols[right as usize].end;
            let join = join(&symbols[left as usize], &symbols[right as usize])?;
            Some(Reverse(Candidate { rank: join.rank, left, right, id: join.id, end }))
        };
        for at in 0..count {
            symbols[at as usize].before = at.checked_sub(1).unwrap_or(NONE);
            symbols[at as usize].after = if at + 1 < count { at + 1 } else { NONE };
            if at + 1 < count {
                queue.extend(candidate(symbols, at, at + 1));
            }
        }
        while let Some(Reverse(Candidate { left, right, id, end, .. })) = queue.pop() {
            // What was joined meanwhile is outdated: a symbol that is gone has no length, one that grew another end.
            let (of_left, of_right) = (symbols[left as usize], symbols[right as usize]);
            if of_left.is_gone() || of_right.is_gone() || of_left.after != right || of_right.end != end {
                continue;
            }
            let after = of_right.after;
            symbols[right as usize].end = of_right.start;
            let joined = &mut symbols[left as usize];
            (joined.id, joined.end, joined.after) = (id, end, after);
            if after != NONE {
                symbols[after as usize].before = left;
                queue.extend(candidate(symbols, left, after));
            }
            if of_left.before != NONE {
                queue.extend(candidate(symbols, of_left.before, left));
            }
        }
        symbols.retain(|symbol| !symbol.is_gone());
    }
}

// === impl Symbol ===

impl Symbol {
    fn is_gone(&self) -> bool {
        self.start == self.end
    }
}

// === impl Join ===

impl Join {
    const NONE: Self = Self { rank: NONE, id: NONE };
}
