//! Connections, from the accept to the last byte: with TLS where it is configured, bounded in number, in
//! time and in what one may send without being asked. Both gRPC and HTTP are served so.

mod admission;
mod answer;
mod calls;
mod inbound;
mod opening;
mod options;
mod serve;
#[cfg(test)]
mod tests;

pub use answer::Answer;
pub use inbound::{Inbound, Silent};
pub use options::Options;
pub use serve::{Port, serve};
