use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config;

/// TLS of a server's ports, `[tls]`. Without a certificate they take plain TCP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// PEM file with the server's certificate, then those between it and its authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// PEM file with its private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// PEM file with the authorities that vouch for clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
    /// Whether clients show a certificate. Default `none`.
    pub client_auth: ClientAuth,
    /// The oldest version that is spoken, `1.2` or `1.3`. Default 1.2, which every client of the last ten
    /// years has.
    pub min_version: MinVersion,
    /// The files are read again this often, in seconds, and at SIGHUP. Default 10.
    pub reload_seconds: u64,
}

/// Whether clients show a certificate.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// They are not asked for one.
    #[default]
    None,
    /// They may; one that `client_ca` does not vouch for ends the connection.
    Optional,
    /// They must.
    Required,
}

/// The oldest version of TLS that is spoken.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MinVersion {
    /// TLS 1.2.
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    Tls13,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            certificate: None,
            key: None,
            client_ca: None,
            client_auth: ClientAuth::default(),
            min_version: MinVersion::default(),
            reload_seconds: 10,
        }
    }
}

impl Options {
    /// Whether the keys go together; `section` is where the options stand in the file.
    ///
    /// # Errors
    /// If they do not; the text names them.
    pub fn check(&self, section: &str) -> Result<(), config::Error> {
        let wrong = |text: String| Err(config::Error::Invalid(text));
        match (&self.certificate, &self.key) {
            (Some(_), None) => return wrong(format!("`{section}.certificate` needs `{section}.key`")),
            (None, Some(_)) => return wrong(format!("`{section}.key` needs `{section}.certificate`")),
            (None, None) if self.client_ca.is_some() || self.client_auth != ClientAuth::None => {
                return wrong(format!(
                    "`{section}.client_ca` and `{section}.client_auth` need `{section}.certificate` and \
                     `{section}.key`"
                ));
            }
            _ => {}
        }
        match (&self.client_ca, self.client_auth) {
            (None, ClientAuth::Optional | ClientAuth::Required) => wrong(format!(
                "`{section}.client_auth` needs `{section}.client_ca`, the authorities that vouch for clients"
            )),
            (Some(_), ClientAuth::None) => wrong(format!(
                "`{section}.client_ca` is of no use unless `{section}.client_auth` is `optional` or `required`"
            )),
            _ => config::check(self.reload_seconds > 0, &format!("{section}.reload_seconds"), "at least 1"),
        }
    }
}
