//! What gateway, planner and executor share: how they read their configuration, tell
//! what they do, listen, serve, dial, and stop. Nothing here knows what a batch is.

pub mod args;
pub mod client;
pub mod compression;
pub mod config;
pub mod connection;
pub mod exit;
pub mod explain;
pub mod identity;
pub mod listen;
pub mod loopback;
pub mod metrics;
pub mod peer;
pub mod ready;
mod reload;
pub mod secret;
pub mod serve;
pub mod shutdown;
pub mod telemetry;
pub mod tls;
mod trailers;

pub use args::Args;
pub use explain::explain;
pub use peer::Peer;
pub use reload::Unheard;
pub use shutdown::Shutdown;
