//! The binary `caravan`: its client commands against a server whose every answer the test
//! decides, and `up` with all roles.

#![expect(clippy::expect_used, clippy::panic, reason = "a test says by panicking what is wrong")]

mod commands;
mod ends;
mod fake;
mod plan;
mod resuming;
mod rows;
mod up;
