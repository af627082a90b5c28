//! The prefix tree: which requests of a batch share how much of their prompts, for inputs far
//! larger than memory.
//!
//! The input is read twice. Each time every request becomes a [`Path`]: hashes of its prompt up
//! to each message end and to block ends inside of messages. The first reading shows all paths
//! to a [`Sketch`], a table of fixed size that knows afterwards where paths part. The second
//! inserts them into a [`Tree`], which has nodes only there, and so never more than requests,
//! however long prompts are. The caller keeps one [`NodeId`] a request. [`Tree::collapse`] then
//! chooses the nodes whose requests become groups. [`volatile`] finds what spoils sharing.
//!
//! Pure: no clock, no I/O, no randomness; the same paths give the same groups. Not here: reading
//! requests, counting tokens, and the plan that is made of groups.

mod grouping;
mod open;
mod path;
mod sketch;
mod tree;
pub mod volatile;

pub use grouping::{Group, Grouping, Shared};
pub use path::{Path, Step};
pub use sketch::Sketch;
pub use tree::{Full, MAX_NODES, NodeId, Tree};
