//! Callers that mean no good, at a gateway with the limits that it has by default.
#![expect(clippy::expect_used, reason = "what fails here fails the test")]

mod drip;
mod edge;
mod packed;
#[path = "../planner/mod.rs"]
mod planner;
mod resets;
mod streams;
mod wire;
