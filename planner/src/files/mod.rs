//! Files as they are stored: a row, and parts that never change.

mod reader;
mod writer;

pub use reader::Reader;
pub use writer::Writer;

use crate::{objects, store};

/// Why a file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its row.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Its bytes.
    #[error(transparent)]
    Objects(#[from] objects::Error),
    /// Another writer got ahead: two streams of one upload, say.
    #[error("another writer appends to the same file")]
    Superseded,
}
