//! What holds for the contract as a whole: its style, what it says of errors, and
//! that it breaks no client of the last release.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod compatible;
mod errors;
mod lint;
mod source;
