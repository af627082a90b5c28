//! How one server is dialled: over TCP, and with TLS if its URL says `https`.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::net::TcpStream;
use tokio_rustls::{client::TlsStream, rustls::pki_types::ServerName};
use tonic::transport::{Channel, Endpoint};
use tower::{Service, ServiceExt as _};
use url::Url;

use super::{Error, Options, is_server};
use crate::tls;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Makes connections to one server. A cheap clone.
#[derive(Debug, Clone)]
pub(super) struct Dialer {
    endpoint: Endpoint,
    secure: Option<Secure>,
}

/// TCP, then TLS with the files as they are then.
#[derive(Debug, Clone)]
struct Secure {
    tcp: HttpConnector,
    tls: tls::Client,
}

/// What is needed for TLS, if any of the servers wants it.
pub(super) fn tls_for(servers: &[Url], options: &Options) -> Result<Option<tls::Client>, Error> {
    let wanted = servers.iter().any(|url| url.scheme() == "https");
    Ok(if wanted { Some(tls::Client::new(&options.tls)?) } else { None })
}

// === impl Dialer ===

impl Dialer {
    /// `tls` is there if `url` is one of `https`.
    pub(super) fn new(url: &Url, options: &Options, tls: Option<&tls::Client>) -> Result<Self, Error> {
        let bad = |source| Error::Url { url: url.to_string(), source };
        if !is_server(url) {
            return Err(bad(None));
        }
        let keepalive = Duration::from_secs(options.keepalive_seconds);
        let origin = url.as_str().parse().map_err(|_no_uri| bad(None))?;
        let endpoint = Endpoint::from_shared(dialled(url).to_string())
            .map_err(|source| bad(Some(source)))?
            .origin(origin)
            .connect_timeout(Duration::from_secs(options.connect_timeout_seconds))
            .tcp_nodelay(true)
            .tcp_keepalive(Some(keepalive))
            .http2_keep_alive_interval(keepalive)
            .keep_alive_timeout(Duration::from_secs(options.keepalive_timeout_seconds))
            .keep_alive_while_idle(true);
        let tls = tls.filter(|_| url.scheme() == "https");
        Ok(Self { endpoint, secure: tls.map(|tls| Secure::new(tls.clone(), keepalive)) })
    }

    /// Connects at the first call, and again after a break.
    pub(super) fn channel(&self) -> Channel {
        match &self.secure {
            None => self.endpoint.connect_lazy(),
            Some(secure) => self.endpoint.connect_with_connector_lazy(secure.clone()),
        }
    }
}

/// The URL for tonic's own part. TLS is made beneath it, and a tonic that some other crate has built with TLS of its
/// own would refuse `https` then.
fn dialled(url: &Url) -> Url {
    let mut dialled = url.clone();
    if url.scheme() == "https" && dialled.set_scheme("http").is_ok() {
        // It fails for URLs without a host, and they were refused.
        let _ = dialled.set_port(url.port_or_known_default());
    }
    dialled
}

// === impl Secure ===

impl Secure {
    fn new(tls: tls::Client, keepalive: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(keepalive));
        Self { tcp, tls }
    }

    async fn connect(self, server: Uri) -> Result<TokioIo<TlsStream<TcpStream>>, BoxError> {
        let host = server.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host)?.to_owned();
        let socket = self.tcp.oneshot(server).await?.into_inner();
        Ok(TokioIo::new(self.tls.connector().connect(name, socket).await?))
    }
}

impl Service<Uri> for Secure {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        Box::pin(self.clone().connect(server))
    }
}
