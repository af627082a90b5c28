//! Who is at the other end of a connection.

use std::{net::SocketAddr, sync::Arc};

use tokio_rustls::rustls::pki_types::CertificateDer;

/// An extension of every request that a server of ours gets, gRPC and HTTP alike.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where the connection comes from: of a proxy, if one is between.
    pub address: SocketAddr,
    /// The client's own certificate, if it showed one and the server's `client_ca` vouches for it.
    pub certificate: Option<Arc<CertificateDer<'static>>>,
}
