//! Certificates for tests, of an authority that exists for one test.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// Vouches for whom it is asked to.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate with its key, in PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// An identity as files.
#[derive(Debug, Clone)]
pub struct Files {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

// === impl Authority ===

impl Authority {
    /// A new one, which no other knows.
    ///
    /// # Errors
    /// If no key can be made.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    /// Its own certificate, in PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Writes its own certificate to `directory`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, directory: &Path) -> anyhow::Result<PathBuf> {
        write(directory.join("ca.pem"), &self.pem)
    }

    /// For whom `name` names; it may serve at localhost and at 127.0.0.1, and dial.
    ///
    /// # Errors
    /// If no key can be made.
    pub fn identity(&self, name: &str) -> anyhow::Result<Identity> {
        let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

// === impl Identity ===

impl Identity {
    /// Writes it to `directory`, over what is there of the same name.
    ///
    /// # Errors
    /// If the files cannot be written.
    pub fn write(&self, directory: &Path, name: &str) -> anyhow::Result<Files> {
        Ok(Files {
            certificate: write(directory.join(format!("{name}.pem")), &self.certificate)?,
            key: write(directory.join(format!("{name}.key")), &self.key)?,
        })
    }
}

/// Whole or not at all, as those that renew certificates do it.
fn write(path: PathBuf, text: &str) -> anyhow::Result<PathBuf> {
    let next = path.with_extension("next");
    std::fs::write(&next, text).with_context(|| format!("cannot write {}", next.display()))?;
    std::fs::rename(&next, &path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
