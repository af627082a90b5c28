//! What holds for the contract as a whole: its style, and that it breaks no client of the last release.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod compatible;
mod lint;
mod source;
