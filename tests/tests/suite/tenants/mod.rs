//! Tenants: keys and tokens, what each role may, and that no tenant reaches what is another's.
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod attempts;
mod cross;
mod keys;
mod limits;
mod raw;
mod rest;
mod revoked;
mod tokens;
mod usage;
