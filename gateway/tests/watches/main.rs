//! Those who watch a batch through a gateway, and a planner that plays a script.
#![expect(clippy::expect_used, reason = "what fails here fails the test")]

mod edge;
mod events;
#[path = "../planner/mod.rs"]
mod planner;
mod subscribers;
