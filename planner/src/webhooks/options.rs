use std::{collections::BTreeMap, time::Duration};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::{address, secret::Secret};

/// Bytes of a webhook's URL at most: what servers take at least.
const MAX_URL: usize = 2_048;

/// Where batches may have their end told, and how.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// What signs for each tenant: `whsec_` and at least 24 bytes in base64. The tenant of those whom nobody asks
    /// who they are is `default`. Batches of a tenant without a secret have no webhook. Never written anywhere.
    #[serde(skip_serializing)]
    pub secrets: BTreeMap<String, Secret>,
    /// Hosts (`hooks.corp.example`) and networks (`10.2.0.0/16`) of one's own that may be told, beside all that is
    /// on the Internet. Default none.
    pub allow: Vec<String>,
    /// Whether `http://` will do. Default false: what is told could be read and answered by others.
    pub allow_http: bool,
    /// Seconds of an attempt at most. Default 10.
    pub timeout_seconds: u64,
    /// Hours after its end from which a batch's end is not told any more. Default 24.
    pub give_up_hours: u64,
}

/// Why a batch cannot have a webhook.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// Nothing signs.
    #[error("this planner signs no webhooks of this tenant: set `webhooks.secrets` in its configuration")]
    NoSecret,
    /// Not a URL that can be told.
    #[error("a webhook must be an https:// URL of at most 2048 bytes, without a user and a fragment")]
    Url,
    /// An address of this network.
    #[error(
        "a webhook must not lead to an internal address: the planner's `webhooks.allow` may name exceptions"
    )]
    Internal,
}

// === impl Options ===

impl Options {
    /// Whether a batch of this tenant may have this webhook. The host's addresses are looked at when it is told.
    ///
    /// # Errors
    /// If it may not.
    pub fn check(&self, tenant: &str, webhook: &str) -> Result<Url, Wrong> {
        if !self.secrets.contains_key(tenant) {
            return Err(Wrong::NoSecret);
        }
        let url =
            Url::parse(webhook).ok().filter(|url| self.is_well_formed(webhook, url)).ok_or(Wrong::Url)?;
        let address = match url.host() {
            Some(Host::Ipv4(address)) => Some(address.into()),
            Some(Host::Ipv6(address)) => Some(address.into()),
            Some(Host::Domain(_)) | None => None,
        };
        match address {
            Some(address) if !self.allows(url.host_str().unwrap_or_default(), address) => {
                Err(Wrong::Internal)
            }
            _ => Ok(url),
        }
    }

    fn is_well_formed(&self, webhook: &str, url: &Url) -> bool {
        let scheme = url.scheme() == "https" || (self.allow_http && url.scheme() == "http");
        let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        scheme && plain && url.has_host() && webhook.len() <= MAX_URL
    }

    /// Whether `host` may be told at this address of it.
    pub(super) fn allows(&self, host: &str, address: std::net::IpAddr) -> bool {
        let address = address.to_canonical();
        let of_ones_own = |allowed: &String| match allowed.parse::<IpNet>() {
            Ok(network) => network.contains(&address),
            Err(_) => allowed.eq_ignore_ascii_case(host),
        };
        address::is_public(address) || self.allow.iter().any(of_ones_own)
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds.max(1))
    }

    pub(super) fn give_up(&self) -> Duration {
        Duration::from_secs(self.give_up_hours.saturating_mul(3_600))
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            secrets: BTreeMap::new(),
            allow: Vec::new(),
            allow_http: false,
            timeout_seconds: 10,
            give_up_hours: 24,
        }
    }
}
