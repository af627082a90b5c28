//! The binary `caravan` against a server whose every answer the test decides.

mod commands;
mod ends;
mod fake;
mod resuming;
