//! How Caravan's programs dial a gRPC server.

use std::time::Duration;

use tonic::{
    Request, Status,
    transport::{Channel, Endpoint},
};
use url::Url;

use crate::telemetry;

/// A server that cannot be dialled, whatever the network says.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The list of servers is empty.
    #[error("no server named")]
    None,
    /// Not a URL that gRPC can use.
    #[error("`{url}` is not a server's address: expected http://HOST:PORT")]
    Url {
        /// As given.
        url: String,
        /// Why.
        #[source]
        source: Option<tonic::transport::Error>,
    },
}

/// How a connection is made and kept.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Longest wait for a TCP connection, in seconds.
    pub connect_timeout_seconds: u64,
    /// A silent connection is probed after so many seconds. Servers may refuse pings more
    /// often than every 10 s.
    pub keepalive_seconds: u64,
    /// A probe unanswered for so many seconds ends the connection.
    pub keepalive_timeout_seconds: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { connect_timeout_seconds: 5, keepalive_seconds: 20, keepalive_timeout_seconds: 10 }
    }
}

/// A channel to the first of `servers`: connected at the first call, and again after a
/// break. Set message limits on the client made from it.
///
/// # Errors
/// If the list is empty or its first is not `http://HOST:PORT`.
pub fn channel(servers: &[Url], options: &Options) -> Result<Channel, Error> {
    let url = servers.first().ok_or(Error::None)?;
    let bad = |source| Error::Url { url: url.to_string(), source };
    if url.scheme() != "http" || url.host().is_none() {
        return Err(bad(None));
    }
    let endpoint = Endpoint::from_shared(url.to_string()).map_err(|source| bad(Some(source)))?;
    let keepalive = Duration::from_secs(options.keepalive_seconds);
    let channel = endpoint
        .connect_timeout(Duration::from_secs(options.connect_timeout_seconds))
        .tcp_nodelay(true)
        .tcp_keepalive(Some(keepalive))
        .http2_keep_alive_interval(keepalive)
        .keep_alive_timeout(Duration::from_secs(options.keepalive_timeout_seconds))
        .keep_alive_while_idle(true)
        .connect_lazy();
    Ok(channel)
}

/// Interceptor that hands the current trace on: `XClient::with_interceptor(channel, traced)`.
///
/// # Errors
/// None; the form is tonic's.
pub fn traced(mut request: Request<()>) -> Result<Request<()>, Status> {
    telemetry::inject(request.metadata_mut());
    Ok(request)
}
