//! Ports, bound before anything else is built, so that a role fails early.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::tls;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: choose another address, or port 0 for any free port")]
pub struct Error {
    address: String,
    #[source]
    source: std::io::Error,
}

/// A port that is ours. Connections queue in the kernel until it is served.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    local: SocketAddr,
    tls: Option<tls::Server>,
}

/// Binds `HOST:PORT`; port 0 takes any free one.
///
/// # Errors
/// If the address is malformed, not of this host, or in use.
pub async fn bind(address: &str) -> Result<Bound, Error> {
    let named = |source| Error { address: address.to_owned(), source };
    let listener = TcpListener::bind(address).await.map_err(named)?;
    let local = listener.local_addr().map_err(named)?;
    Ok(Bound { listener, local, tls: None })
}

impl Bound {
    /// The address in force: the real port where 0 was asked for.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// With TLS, if there is any.
    #[must_use]
    pub fn with_tls(self, tls: Option<tls::Server>) -> Self {
        if tls.is_none() && !self.local.ip().is_loopback() {
            tracing::warn!(address = %self.local, "no TLS: whoever is on the network reads along");
        }
        Self { tls, ..self }
    }

    /// The same as a URL, `http://host:port`, or `https://` with TLS.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.local)
    }

    /// The listener itself, and its TLS.
    pub(crate) fn into_parts(self) -> (TcpListener, Option<tls::Server>) {
        (self.listener, self.tls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_named_with_the_way_out() {
        let first = bind("127.0.0.1:0").await.expect("a free port");
        let address = first.local_addr().to_string();
        let error = bind(&address).await.expect_err("the port is taken").to_string();
        assert!(error.contains(&address) && error.contains("port 0"), "{error}");
    }
}
