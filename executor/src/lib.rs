//! The executor, Caravan's hands: runs on a GPU host, pulls chunks from the planner,
//! drives the engines of its own host, and checks everything that they say. It keeps no
//! state beyond its own life: whatever it holds and cannot finish, the planner gives to
//! another.
//!
#![doc = include_str!("../docs/pains.md")]

mod backoff;
pub mod calibrate;
mod conversation;
pub mod engine;
mod first_use;
mod gate;
mod gpu;
mod health;
mod lane;
mod lease;
mod ledger;
mod manage;
mod metrics;
mod models;
mod options;
mod processes;
mod service;
mod session;
mod speed;
mod structured;
#[cfg(test)]
mod tests;
mod unit;
mod usage;
mod vocabularies;
mod vram;

pub use manage::{Error as ManageError, Gpus, ManagedOptions};
pub use options::{Ceiling, EngineOptions, Limits, Liveness, Options, Slots};
pub use service::{Error, Service};
