//! Volatile prefixes: a date, a time or an id near the start of prompts that are equal
//! otherwise, so that none finds what another evaluated.

mod difference;
mod kind;
mod sample;
mod watch;

pub use kind::Kind;
pub use watch::{Finding, Limits, Watch};
