use super::batch::Batch;
use crate::intake::{Piece, Scanned};

/// Cuts an input into batches, of valid lines only.
#[derive(Debug, Default)]
pub(super) struct Batches {
    /// Requests passed.
    next: usize,
    /// Bytes of the defaults that each line is laid over.
    defaults: usize,
    open: Batch,
}

// === impl Batches ===

impl Batches {
    /// Batches of lines that are laid over so many bytes of defaults.
    pub(super) fn new(defaults: usize) -> Self {
        Self { defaults, ..Self::default() }
    }

    /// Takes the next line of the input; gives a batch that is full.
    pub(super) fn line(&mut self, piece: Piece<'_>, scanned: &Scanned) -> Option<Batch> {
        let bytes = piece.bytes?;
        let (place, request) = (scanned.places.get(self.next)?, scanned.requests.get(self.next)?);
        // A byte order mark stands before the first line.
        let skipped = usize::try_from(place.offset.checked_sub(piece.offset)?).ok()?;
        let line = bytes.get(skipped..).filter(|line| line.len() == place.length as usize)?;
        self.next += 1;
        self.open.push(request.group, line, self.defaults);
        self.open.is_full().then(|| std::mem::take(&mut self.open))
    }

    /// What is left; it may be empty.
    pub(super) fn finish(self) -> Batch {
        self.open
    }
}
