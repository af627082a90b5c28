//! Intake: every line of an input once, checked and reduced to a record of fixed size.
//! No I/O here: bytes come in blocks, errors go out one by one.

mod ids;
mod lines;
mod path;
mod scan;

pub use ids::Ids;
pub use lines::{Lines, Piece};
pub use path::{Paths, Sharing, leading};
pub use scan::{Class, Place, Rules, Scan, Scanned};
