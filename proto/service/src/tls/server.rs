use std::{sync::Arc, time::Duration};

use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig, SupportedProtocolVersion,
        server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    },
};

use super::{
    ClientAuth, Error, H2, HTTP1, MinVersion, Options, VERSIONS, VERSIONS_FROM_13,
    files::{File, Identity},
    provider,
};
use crate::reload::Reloaded;

/// What is spoken on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/2 and nothing else.
    Grpc,
    /// HTTP/2 or HTTP/1.1, as the client likes.
    Http,
}

/// TLS of a role's ports. A cheap clone.
#[derive(Debug, Clone)]
pub struct Server {
    ports: Reloaded<Ports>,
}

/// They differ in what is offered in the handshake.
struct Ports {
    grpc: TlsAcceptor,
    http: TlsAcceptor,
}

/// The files.
#[derive(PartialEq, Eq)]
struct Files {
    identity: Identity,
    client_ca: Option<File>,
}

// === impl Server ===

impl Server {
    /// None where no certificate is configured. Call it inside the runtime: the files are watched from
    /// then on.
    ///
    /// # Errors
    /// If a file cannot be read, or no TLS can be made of what it says.
    pub fn new(options: &Options) -> Result<Option<Self>, Error> {
        options.check("tls")?;
        let (Some(certificate), Some(key)) = (options.certificate.clone(), options.key.clone()) else {
            return Ok(None);
        };
        let client_ca = options.client_ca.clone();
        let read = move || {
            Ok(Files {
                identity: Identity::read(&certificate, &key)?,
                client_ca: client_ca.as_deref().map(File::read).transpose()?,
            })
        };
        let (client_auth, min_version) = (options.client_auth, options.min_version);
        let build = move |files: &Files| Ports::new(files, client_auth, min_version);
        let ports = Reloaded::new("certificates", Duration::from_secs(options.reload_seconds), read, build)?;
        Ok(Some(Self { ports }))
    }

    /// For one handshake, with the files as they are now.
    pub(crate) fn acceptor(&self, protocol: Protocol) -> TlsAcceptor {
        let ports = self.ports.now();
        match protocol {
            Protocol::Grpc => ports.grpc.clone(),
            Protocol::Http => ports.http.clone(),
        }
    }
}

// === impl Ports ===

impl Ports {
    fn new(files: &Files, client_auth: ClientAuth, min_version: MinVersion) -> Result<Self, Error> {
        let verifier = verifier(files.client_ca.as_ref(), client_auth)?;
        let Identity { certificate, key } = &files.identity;
        let config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions(min_version))
            .map_err(Error::Version)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(certificate.certificates()?, key.key()?)
            .map_err(|source| Error::Certificate { path: certificate.path.clone(), source })?;
        let offering = |protocols: &[&[u8]]| {
            let mut config = config.clone();
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            TlsAcceptor::from(Arc::new(config))
        };
        Ok(Self { grpc: offering(&[H2]), http: offering(&[H2, HTTP1]) })
    }
}

fn verifier(client_ca: Option<&File>, client_auth: ClientAuth) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let Some(file) = client_ca else { return Ok(WebPkiClientVerifier::no_client_auth()) };
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(file.authorities()?), provider());
    let builder = match client_auth {
        ClientAuth::Required => builder,
        ClientAuth::Optional | ClientAuth::None => builder.allow_unauthenticated(),
    };
    builder.build().map_err(|source| Error::Verifier { path: file.path.clone(), source })
}

fn versions(min_version: MinVersion) -> &'static [&'static SupportedProtocolVersion] {
    match min_version {
        MinVersion::Tls12 => VERSIONS,
        MinVersion::Tls13 => VERSIONS_FROM_13,
    }
}
