use memchr::memchr;

/// Cuts blocks of bytes into lines. Holds one unfinished line, never more than the limit.
#[derive(Debug)]
pub struct Lines {
    limit: usize,
    /// Lines begun.
    number: u64,
    /// Where the current line begins in the input.
    start: u64,
    /// What of the current line came with blocks before.
    partial: Vec<u8>,
    /// Bytes of the current line that were dropped because it is too long.
    dropped: u64,
}

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Its number, from 1.
    pub number: u64,
    /// Where it begins in the input.
    pub offset: u64,
    /// Its bytes without the line end; none if it is longer than the limit.
    pub bytes: Option<&'a [u8]>,
}

// === impl Lines ===

impl Lines {
    /// Lines of at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, number: 1, start: 0, partial: Vec::new(), dropped: 0 }
    }

    /// Takes a block; `each` gets every line that ends in it.
    pub fn feed(&mut self, mut block: &[u8], mut each: impl FnMut(Piece<'_>)) {
        while let Some(end) = memchr(b'\n', block) {
            let (line, rest) = block.split_at(end);
            block = rest.get(1..).unwrap_or_default();
            self.end(line, &mut each);
        }
        self.keep(block);
    }

    /// The input has ended: the last line needs no line end.
    pub fn finish(mut self, mut each: impl FnMut(Piece<'_>)) {
        if !self.partial.is_empty() || self.dropped > 0 {
            self.end(&[], &mut each);
        }
    }

    fn end(&mut self, line: &[u8], each: &mut impl FnMut(Piece<'_>)) {
        let begun = self.partial.len() as u64 + self.dropped;
        if begun > 0 {
            self.keep(line);
        }
        let whole = if begun > 0 { self.partial.as_slice() } else { line };
        let fits = self.dropped == 0 && whole.len() <= self.limit;
        let bytes = fits.then(|| whole.strip_suffix(b"\r").unwrap_or(whole));
        each(Piece { number: self.number, offset: self.start, bytes });
        self.number += 1;
        self.start += begun + line.len() as u64 + 1;
        self.dropped = 0;
        self.partial.clear();
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.dropped == 0 && self.partial.len() + bytes.len() <= self.limit {
            self.partial.extend_from_slice(bytes);
        } else {
            self.dropped += (self.partial.len() + bytes.len()) as u64;
            self.partial = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(input: &[u8], block: usize, limit: usize) -> Vec<(u64, u64, Option<String>)> {
        let mut lines = Lines::new(limit);
        let mut out = Vec::new();
        let mut each = |piece: Piece<'_>| {
            let text = piece.bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            out.push((piece.number, piece.offset, text));
        };
        for block in input.chunks(block) {
            lines.feed(block, &mut each);
        }
        lines.finish(&mut each);
        out
    }

    #[test]
    fn blocks_of_any_size_give_the_same_lines() {
        let input = b"one\r\n\nthree is long\nfour";
        let wanted = vec![
            (1, 0, Some("one".to_owned())),
            (2, 5, Some(String::new())),
            (3, 6, None),
            (4, 20, Some("four".to_owned())),
        ];
        for block in 1..input.len() + 1 {
            assert_eq!(cut(input, block, 8), wanted, "blocks of {block}");
        }
    }

    #[test]
    fn a_last_line_end_begins_no_line() {
        assert_eq!(cut(b"a\n", 1, 8).len(), 1);
        assert_eq!(cut(b"", 1, 8).len(), 0);
    }
}
