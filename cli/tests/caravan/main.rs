//! The binary `caravan`: its client commands against a server whose every answer the test
//! decides, and `up` with all roles.

mod commands;
mod ends;
mod fake;
mod resuming;
mod up;
