//! Which calls are compressed, and how: zstd, where a network is slower than a core.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tonic::codec::CompressionEncoding;
use url::Url;

use crate::loopback::is_here;

/// Whether a client compresses what it sends, and asks for compressed answers.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Unless the server is on this host: a core compresses fewer bytes a second than a
    /// loopback carries, and more than most networks do.
    #[default]
    Auto,
    /// Whatever the server's address.
    Always,
    /// Not at all.
    Never,
}

/// What servers accept, and send to clients that ask for it. What a message may take once
/// it is unpacked is bounded by the service's decoding limit.
pub const ACCEPTED: CompressionEncoding = CompressionEncoding::Zstd;

// === impl Compression ===

impl Compression {
    /// How calls to the first of `servers` are compressed, if they are.
    #[must_use]
    pub fn encoding(self, servers: &[Url]) -> Option<CompressionEncoding> {
        let wanted = match self {
            Self::Auto => servers.first().is_some_and(|url| !is_here(url)),
            Self::Always => true,
            Self::Never => false,
        };
        wanted.then_some(ACCEPTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_on_this_host_is_not_compressed() {
        let encoding =
            |compression: Compression, url: &str| compression.encoding(&[url.parse().unwrap()]).is_some();
        for here in ["http://127.0.0.1:4081", "http://[::1]:4081", "http://localhost:4081"] {
            assert!(!encoding(Compression::Auto, here), "{here}");
            assert!(encoding(Compression::Always, here), "{here}");
        }
        for there in ["http://10.0.0.1:4081", "http://caravan.example:4081"] {
            assert!(encoding(Compression::Auto, there), "{there}");
            assert!(!encoding(Compression::Never, there), "{there}");
        }
    }
}
