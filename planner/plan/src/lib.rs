//! Planning as pure functions: requests, fleet and policy in, plan out.
//!
//! No clock, no I/O, no randomness: the same input gives the same plan, on every replica.
//! Memory is bounded by the input: about 40 bytes a request while planning, 4 bytes a request
//! and 72 a chunk in the plan. Time is O(n log n) in requests.
//!
//! Not here: reading requests, counting their tokens exactly, and giving chunks to lanes.

mod arithmetic;
mod assemble;
mod budget;
mod conversation;
mod draft;
mod error;
mod estimate;
mod independent;
mod input;
mod plan;
mod policy;
mod reuse;
mod schedule;
mod size;
mod spread;
mod summarize;
mod summary;
mod tally;
mod tier;
mod units;
mod work;

pub use arithmetic::{Arithmetic, arithmetic};
pub use assemble::plan;
pub use budget::Budget;
pub use error::Error;
pub use estimate::{BytesPerToken, Estimate, estimate};
pub use input::{Fleet, Head, Input, Origin, Request, ReusePoint, Speed};
pub use plan::{Chunk, Group, Plan, Rejected};
pub use policy::{Limits, Policy, StatedTokens, Strategy};
pub use reuse::Reuse;
pub use summary::{ChunkBin, Summary, Warning};
pub use tier::tier;
pub use units::{Bytes, Micros, Ratio, Tokens};
