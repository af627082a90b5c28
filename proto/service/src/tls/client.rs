use std::{path::PathBuf, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore},
};

use super::{
    Error, H2, VERSIONS,
    files::{File, Identity},
    provider,
};
use crate::{config, reload::Reloaded};

/// TLS towards servers whose URL is `https://`, `[client.tls]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// PEM file with the authorities that vouch for servers. Absent: those of this system, and where it has
    /// none Mozilla's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// PEM file with a certificate to show to servers, then those between it and its authority. Absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// PEM file with its private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// The files are read again this often, in seconds, and at SIGHUP. Default 10.
    pub reload_seconds: u64,
}

/// TLS towards servers. A cheap clone.
#[derive(Debug, Clone)]
pub struct Client(Source);

#[derive(Debug, Clone)]
enum Source {
    /// No file of ours: nothing to watch.
    Fixed(Arc<ClientConfig>),
    Files(Reloaded<ClientConfig>),
}

/// The files.
#[derive(PartialEq, Eq)]
struct Files {
    ca: Option<File>,
    identity: Option<Identity>,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self { ca: None, certificate: None, key: None, reload_seconds: 10 }
    }
}

impl Options {
    /// Whether the keys go together; `section` is where the options stand in the file.
    pub(crate) fn check(&self, section: &str) -> Result<(), config::Error> {
        let together = self.certificate.is_some() == self.key.is_some();
        config::check(together, &format!("{section}.certificate"), "given together with `key`, or not at all")
    }

    fn read(&self) -> Result<Files, Error> {
        self.check("client.tls")?;
        let identity = self.certificate.as_deref().zip(self.key.as_deref());
        let identity = identity.map(|(certificate, key)| Identity::read(certificate, key)).transpose()?;
        Ok(Files { ca: self.ca.as_deref().map(File::read).transpose()?, identity })
    }
}

// === impl Client ===

impl Client {
    /// Call it inside the runtime: the files are watched from then on.
    ///
    /// # Errors
    /// If a file cannot be read, or no TLS can be made of what it says.
    pub fn new(options: &Options) -> Result<Self, Error> {
        let files = options.read()?;
        if files.ca.is_none() && files.identity.is_none() {
            return Ok(Self(Source::Fixed(Arc::new(made_of(&files)?))));
        }
        let options = options.clone();
        let interval = Duration::from_secs(options.reload_seconds.max(1));
        Ok(Self(Source::Files(Reloaded::new("certificates", interval, move || options.read(), made_of)?)))
    }

    /// For one handshake, with the files as they are now.
    pub(crate) fn connector(&self) -> TlsConnector {
        TlsConnector::from(match &self.0 {
            Source::Fixed(config) => Arc::clone(config),
            Source::Files(files) => files.now(),
        })
    }
}

fn made_of(files: &Files) -> Result<ClientConfig, Error> {
    let roots = files.ca.as_ref().map_or_else(|| Ok(system_roots()), File::authorities)?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .map_err(Error::Version)?
        .with_root_certificates(roots);
    let mut config = match &files.identity {
        None => builder.with_no_client_auth(),
        Some(Identity { certificate, key }) => builder
            .with_client_auth_cert(certificate.certificates()?, key.key()?)
            .map_err(|source| Error::Certificate { path: certificate.path.clone(), source })?,
    };
    config.alpn_protocols = vec![H2.to_vec()];
    Ok(config)
}

/// What this system trusts; a certificate of it that cannot be read is left out, as every client does.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}
