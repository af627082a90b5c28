//! The gateway: the public edge, stateless. It serves the public services of
//! `caravan.v1` by forwarding to the planner, message by message, and the
//! OpenAI-compatible REST facade. It holds no batch data and decides nothing.

mod forward;
mod keys;
pub mod limits;
mod options;
mod relay;
mod rest;
mod resume;
mod service;
mod upstream;
mod watches;

pub use options::Options;
pub use rest::multipart;
pub use service::{Error, Service};
