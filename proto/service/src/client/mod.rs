//! How Caravan's programs dial a gRPC server: one of several replicas, whichever serves.

mod body;
mod credential;
mod dial;
mod replica;
mod replicas;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, time::Duration};

pub use credential::CredentialError;
pub use replica::{Replica, State};
pub use replicas::Replicas;
use tonic::{Request, Status, transport::Channel};
use url::Url;

use self::dial::{Dialer, tls_for};
use crate::{config, secret::Secret, telemetry, tls};

/// A server that cannot be dialled, whatever the network says.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The list of servers is empty.
    #[error("no server named")]
    None,
    /// Options do not go together.
    #[error(transparent)]
    Options(#[from] config::Error),
    /// The credential cannot be used.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// Not a URL that gRPC can use.
    #[error("`{url}` is not a server's address: expected http://HOST:PORT or https://HOST:PORT")]
    Url {
        /// As given.
        url: String,
        /// Why.
        #[source]
        source: Option<tonic::transport::Error>,
    },
    /// No TLS can be made of the client's files.
    #[error("no TLS towards servers can be had")]
    Tls(#[from] tls::Error),
}

/// How connections are made and kept.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// A key or token that is shown with every call. `token_file` is better: nobody sees it in an environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// A file with nothing but the key or token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// The file is read again this often, in seconds, and at SIGHUP. Default 10, as certificates are.
    pub token_reload_seconds: u64,
    /// Longest wait for a connection, TLS included, in seconds. Default 2: a packet that was lost is sent again
    /// after one.
    pub connect_timeout_seconds: u64,
    /// A silent connection is probed after so many seconds. Servers may refuse pings more
    /// often than every 10 s.
    pub keepalive_seconds: u64,
    /// A probe unanswered for so many seconds ends the connection.
    pub keepalive_timeout_seconds: u64,
    /// Each server is asked for its health this often, in milliseconds, and dialled again after as
    /// long. Default 500.
    pub health_millis: u64,
    /// A server that does not answer that for so long is given up, in milliseconds, with every call to
    /// it. Default 1500: with the interval, a server that falls silent is left within 2 s.
    pub health_timeout_millis: u64,
    /// TLS towards servers whose URL is `https://`.
    pub tls: tls::ClientOptions,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            token: None,
            token_file: None,
            token_reload_seconds: 10,
            connect_timeout_seconds: 2,
            keepalive_seconds: 20,
            keepalive_timeout_seconds: 10,
            health_millis: 500,
            health_timeout_millis: 1_500,
            tls: tls::ClientOptions::default(),
        }
    }
}

impl Options {
    /// Whether the options go together; `section` is where they stand in the file.
    ///
    /// # Errors
    /// If they do not; the text names one that is wrong.
    pub fn check(&self, section: &str) -> Result<(), config::Error> {
        let once = self.token.is_none() || self.token_file.is_none();
        config::check(once, &format!("{section}.token"), "left out where `token_file` is given")?;
        self.tls.check(&format!("{section}.tls"))
    }

    fn health(&self) -> Duration {
        Duration::from_millis(self.health_millis.max(1))
    }

    fn health_timeout(&self) -> Duration {
        Duration::from_millis(self.health_timeout_millis.max(1))
    }
}

/// Whether `url` is one that a server may have.
#[must_use]
pub fn is_server(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.host().is_some()
}

/// A channel to the first of `servers`: connected at the first call, and again after a
/// break. Set message limits on the client made from it.
///
/// # Errors
/// If the list is empty, its first is no URL of a server, or no TLS can be made of the files.
pub fn channel(servers: &[Url], options: &Options) -> Result<Channel, Error> {
    let first = servers.get(..1).ok_or(Error::None)?;
    let tls = tls_for(first, options)?;
    Ok(Dialer::new(&first[0], options, tls.as_ref())?.channel())
}

/// Interceptor that hands the current trace on: `XClient::with_interceptor(channel, traced)`.
///
/// # Errors
/// None; the form is tonic's.
pub fn traced(mut request: Request<()>) -> Result<Request<()>, Status> {
    telemetry::inject(request.metadata_mut());
    Ok(request)
}
