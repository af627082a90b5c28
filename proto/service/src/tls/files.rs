//! PEM files as they were read: bytes to compare, and what is in them.

use std::path::{Path, PathBuf};

use tokio_rustls::rustls::{
    RootCertStore,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
};

use super::Error;

/// No `Debug`: it may hold a key.
#[derive(PartialEq, Eq)]
pub(super) struct File {
    pub(super) path: PathBuf,
    bytes: Vec<u8>,
}

/// A certificate with the key that proves it.
#[derive(PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) certificate: File,
    pub(super) key: File,
}

// === impl File ===

impl File {
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let bytes = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), bytes })
    }

    /// At least one certificate.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        let wrong = |source| Error::Pem { path: self.path.clone(), wanted: "certificate", source };
        let all =
            CertificateDer::pem_slice_iter(&self.bytes).collect::<Result<Vec<_>, _>>().map_err(wrong)?;
        if all.is_empty() { Err(wrong(pem::Error::NoItemsFound)) } else { Ok(all) }
    }

    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, Error> {
        PrivateKeyDer::from_pem_slice(&self.bytes).map_err(|source| Error::Pem {
            path: self.path.clone(),
            wanted: "private key",
            source,
        })
    }

    pub(super) fn authorities(&self) -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates()? {
            roots.add(certificate).map_err(|source| Error::Authority { path: self.path.clone(), source })?;
        }
        Ok(roots)
    }
}

// === impl Identity ===

impl Identity {
    pub(super) fn read(certificate: &Path, key: &Path) -> Result<Self, Error> {
        Ok(Self { certificate: File::read(certificate)?, key: File::read(key)? })
    }
}
