//! Results: records in segments, made final once, compacted, merged into outputs, streamed.

mod close;
mod compact;
mod cursor;
mod gather;
mod merge;
mod output;
mod record;
mod report;
mod segment;
mod stream;
#[cfg(test)]
mod tests;

pub use close::close;
pub use compact::compact;
pub use cursor::Cursor;
pub use gather::{Arrival, Gatherer, Options};
pub use merge::merge_into_one;
pub use output::{write_errors, write_outputs};
pub use record::{Record, SegmentReader, Source, encode};
pub use report::report;
pub use stream::{Page, Pages};

use crate::{files, objects, store};

/// Why results could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Rows.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Bytes.
    #[error(transparent)]
    Objects(#[from] objects::Error),
    /// Files.
    #[error(transparent)]
    Files(#[from] files::Error),
}
