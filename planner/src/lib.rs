//! The planner, Caravan's brain: the only owner of state. It takes uploads, checks and
//! plans batches, leases chunks to executors, makes results final, and tells who asks.

pub mod api;
pub mod clock;
pub mod dispatch;
pub mod files;
pub mod garbage;
pub mod intake;
pub mod keys;
pub mod metrics;
pub mod models;
pub mod objects;
mod options;
pub mod prepare;
pub mod profiles;
pub mod quotas;
pub mod results;
mod service;
pub mod signals;
pub mod store;
mod upkeep;
pub mod vocabularies;
pub mod webhooks;

pub use options::Options;
pub use service::{Error, Service};
