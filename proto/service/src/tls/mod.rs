//! TLS on every port: rustls with aws-lc-rs, from PEM files that may be replaced at any time. A new
//! connection gets what the files say now; one that is open stays as it is.

mod client;
mod error;
mod files;
mod options;
mod server;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio_rustls::rustls::{
    SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    version::{TLS12, TLS13},
};

pub use client::{Client, Options as ClientOptions};
pub use error::Error;
pub use options::{ClientAuth, MinVersion, Options};
pub use server::{Protocol, Server};

/// What HTTP/2 is called in a handshake, and HTTP/1.
const H2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// All that is spoken.
static VERSIONS: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
/// Without the older one.
static VERSIONS_FROM_13: &[&SupportedProtocolVersion] = &[&TLS13];

/// Named wherever it is needed: what else is linked into a process makes no difference.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
