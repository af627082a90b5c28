use std::{io, path::PathBuf};

use tokio_rustls::rustls::{self, pki_types::pem, server::VerifierBuilderError};

use crate::{Unheard, config};

/// Files or keys of the configuration that no TLS can be made of. The text names the file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Keys of the configuration do not go together.
    #[error(transparent)]
    Options(#[from] config::Error),
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{} holds no {wanted} in PEM", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// `certificate` or `private key`.
        wanted: &'static str,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// A certificate cannot be used with its key.
    #[error("the certificate in {} cannot be used with its key", path.display())]
    Certificate {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// A certificate of an authority cannot be used.
    #[error("the authorities in {} cannot be used", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// Nobody's certificate could be verified.
    #[error("the authorities in {} verify nobody", path.display())]
    Verifier {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: VerifierBuilderError,
    },
    /// The library has none of the protocol's versions.
    #[error("no version of TLS is left")]
    Version(#[source] rustls::Error),
    /// Nobody would notice new files.
    #[error(transparent)]
    Signal(#[from] Unheard),
}
