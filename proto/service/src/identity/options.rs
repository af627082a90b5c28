use std::{net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{CertificateHolder, Oidc};
use crate::config;

/// How a server finds out who calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Whether callers have to say who they are. Default off, which is for loopback.
    pub mode: Mode,
    /// Serve addresses that other hosts reach though nobody is asked who they are. Default false.
    pub allow_unauthenticated_network: bool,
    /// What was found out of a key is remembered so long, in seconds: a key that is revoked is good for as long
    /// still. Default 10.
    pub key_cache_seconds: u64,
    /// Whose tokens are taken beside keys. Default nobody's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oidc: Option<Oidc>,
    /// Whom client certificates stand for, of calls that show neither key nor token; `tls.client_ca` vouches for
    /// them. Default nobody.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<CertificateHolder>,
}

/// Whether callers have to say who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Nobody is asked: everybody may do everything, as tenant `default`.
    #[default]
    Off,
    /// Who does not say who they are gets UNAUTHENTICATED.
    Required,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            allow_unauthenticated_network: false,
            // Short enough for who revokes a key and watches; long enough that a busy client costs the planner
            // one question in a thousand calls.
            key_cache_seconds: 10,
            oidc: None,
            certificates: Vec::new(),
        }
    }
}

impl Options {
    /// Whether each option can be met; `section` is where the options stand in the file.
    ///
    /// # Errors
    /// If one cannot; the text names it.
    pub fn check(&self, section: &str) -> Result<(), config::Error> {
        let cached = self.key_cache_seconds > 0;
        config::check(cached, &format!("{section}.key_cache_seconds"), "at least 1")?;
        CertificateHolder::check(&self.certificates, &format!("{section}.certificates"))?;
        self.oidc.as_ref().map_or(Ok(()), |oidc| oidc.check(&format!("{section}.oidc")))
    }

    pub(super) fn key_cache(&self) -> Duration {
        Duration::from_secs(self.key_cache_seconds)
    }

    /// As [`check_address`](Self::check_address), of an address as it is written; a name is nobody's until its port
    /// is bound.
    ///
    /// # Errors
    /// As there.
    pub fn check_listen(&self, section: &str, key: &str, address: &str) -> Result<(), config::Error> {
        address.parse().map_or(Ok(()), |address| self.check_address(section, key, address))
    }

    /// Whether an address may be served, which `key` of the configuration names; `section` is where these options
    /// stand.
    ///
    /// # Errors
    /// If other hosts reach it, nobody is asked who they are, and nobody said that this is meant so.
    pub fn check_address(&self, section: &str, key: &str, address: SocketAddr) -> Result<(), config::Error> {
        let is_open = self.mode == Mode::Off && !self.allow_unauthenticated_network;
        if is_open && !address.ip().to_canonical().is_loopback() {
            return Err(config::Error::Invalid(format!(
                "`{key}` is {address}, which other hosts reach, and nobody is asked who they are: set \
                 `{section}.mode = \"required\"` and give out keys, or, where whoever reaches it may do everything, \
                 `{section}.allow_unauthenticated_network = true`"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_served_on_purpose_only() {
        let check = |options: &Options, address: &str| {
            options.check_listen("identity", "listen", address).map_err(|error| error.to_string())
        };
        let off = Options::default();
        for loopback in ["127.0.0.1:1", "127.8.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(check(&off, loopback), Ok(()), "{loopback}");
        }
        for network in ["0.0.0.0:1", "10.0.0.1:1", "[::]:1", "[::ffff:10.0.0.1]:1"] {
            let said = check(&off, network).expect_err(network);
            for word in ["`listen`", "identity.mode", "required", "allow_unauthenticated_network = true"] {
                assert!(said.contains(word), "{said}");
            }
            assert_eq!(
                check(&Options { allow_unauthenticated_network: true, ..off.clone() }, network),
                Ok(())
            );
            assert_eq!(check(&Options { mode: Mode::Required, ..off.clone() }, network), Ok(()));
        }
    }
}
