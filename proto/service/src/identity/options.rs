use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::config;

/// How a server finds out who calls.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Whether callers have to say who they are. Default off, which is for loopback.
    pub mode: Mode,
    /// Serve addresses that other hosts reach though nobody is asked who they are. Default false.
    pub allow_unauthenticated_network: bool,
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

impl Options {
    /// Whether an address may be served, which `key` of the configuration names.
    ///
    /// # Errors
    /// If other hosts reach it, nobody is asked who they are, and nobody said that this is meant so.
    pub fn check_address(&self, key: &str, address: SocketAddr) -> Result<(), config::Error> {
        let is_open = self.mode == Mode::Off && !self.allow_unauthenticated_network;
        if is_open && !address.ip().to_canonical().is_loopback() {
            return Err(config::Error::Invalid(format!(
                "`{key}` is {address}, which other hosts reach, and nobody is asked who they are: set \
                 `identity.mode = \"required\"` and give out keys, or, where whoever reaches it may do everything, \
                 `identity.allow_unauthenticated_network = true`"
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
            options
                .check_address("listen", address.parse().expect("an address"))
                .map_err(|error| error.to_string())
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
