use std::{num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize};

use super::inbound::Patience;
use crate::config;

/// Bounds of a role's servers, of each port for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Connections at once; one more is closed as soon as it is made. Default 4,096: an idle one with TLS takes
    /// some 50 KB, so 200 MB.
    pub max_connections: usize,
    /// Of these, from one address (IPv6: from one /64 network). Default 512, an eighth: nobody alone has them
    /// all. To be raised where all clients come through one proxy.
    pub max_connections_per_address: usize,
    /// Connections at once on which nothing was asked for yet: in the TLS handshake, or before it. Default
    /// 1,024, twice what one address may have.
    pub max_pending_handshakes: usize,
    /// Seconds from the connection to the end of the TLS handshake and the first 24 bytes of HTTP. Default 10:
    /// five round trips of 1 s, with one packet lost.
    pub handshake_seconds: u64,
    /// Seconds that the head of an HTTP/1 request may take, from the end of the one before. Default 30,
    /// longer than the clients' pools keep a connection.
    pub header_seconds: u64,
    /// Bytes of a request's head. Default 32 KiB: four times what proxies usually let through (8 KiB), for
    /// tokens with many groups.
    pub max_header_bytes: u32,
    /// A connection without a call is closed after so many seconds. Default 300, under the 350 s after which
    /// the usual load balancers forget it.
    pub idle_seconds: u64,
    /// A client that is waited for in the middle of a call, an upload above all, and sends nothing for so many
    /// seconds has its call ended. Default 60: as usual in front of HTTP servers.
    pub silence_seconds: u64,
    /// Bytes a second that such a client has to send, or 0: each of them shortens its silence, and what is left of
    /// `silence_seconds` ends the call. Default 0, since executors are quiet for good reasons; of the gateway 500, as
    /// Apache's `mod_reqtimeout` asks of bodies.
    pub min_bytes_per_second: u32,
    /// Calls at once on one connection. Default 16,384: a gateway carries all its clients over one.
    pub max_concurrent_streams: u32,
    /// Calls at once on all connections; one more is told to try again. Default 32,768: three times what
    /// 10,000 watchers need. Half of them may be such as anybody may make: of health and reflection.
    pub max_calls: usize,
    /// Of these, from one address, as with connections. Default 32,768, all: a gateway brings those of all its
    /// clients. Of the gateway 4,096, an eighth: nobody alone has them all. To be raised where all clients come
    /// through one proxy.
    pub max_calls_per_address: usize,
    /// A silent connection is probed after so many seconds. Default 20: under the idle limits of the usual
    /// load balancers (60 s and up).
    pub keepalive_seconds: u64,
    /// A probe unanswered for so many seconds ends the connection. Default 20.
    pub keepalive_timeout_seconds: u64,
    /// What links to the pages on errors begin with, e.g. `https://wiki.example/caravan/errors/`. Default: their
    /// folder in the repository.
    pub error_help_url: String,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            max_connections: 4_096,
            max_connections_per_address: 512,
            max_pending_handshakes: 1_024,
            handshake_seconds: 10,
            header_seconds: 30,
            max_header_bytes: 32 << 10,
            idle_seconds: 300,
            silence_seconds: 60,
            min_bytes_per_second: 0,
            max_concurrent_streams: 16_384,
            max_calls: 32_768,
            max_calls_per_address: 32_768,
            keepalive_seconds: 20,
            keepalive_timeout_seconds: 20,
            error_help_url: caravan_proto::error::HELP.to_owned(),
        }
    }
}

impl Options {
    /// What serde cannot check; `section` is where the options stand in the file.
    ///
    /// # Errors
    /// If a value is out of its range; the text names it.
    pub fn check(&self, section: &str) -> Result<(), config::Error> {
        for (key, value) in [
            ("max_connections", self.max_connections as u64),
            ("max_connections_per_address", self.max_connections_per_address as u64),
            ("max_pending_handshakes", self.max_pending_handshakes as u64),
            ("handshake_seconds", self.handshake_seconds),
            ("header_seconds", self.header_seconds),
            ("idle_seconds", self.idle_seconds),
            ("silence_seconds", self.silence_seconds),
            ("max_concurrent_streams", u64::from(self.max_concurrent_streams)),
            ("max_calls", self.max_calls as u64),
            ("max_calls_per_address", self.max_calls_per_address as u64),
            ("keepalive_seconds", self.keepalive_seconds),
            ("keepalive_timeout_seconds", self.keepalive_timeout_seconds),
        ] {
            config::check(value > 0, &format!("{section}.{key}"), "at least 1")?;
        }
        let header = (8 << 10..=1 << 20).contains(&self.max_header_bytes);
        config::check(header, &format!("{section}.max_header_bytes"), "8 KiB to 1 MiB, in bytes")?;
        let calls = self.max_calls <= tokio::sync::Semaphore::MAX_PERMITS;
        config::check(calls, &format!("{section}.max_calls"), "less")
    }

    /// Calls at once of those that anybody may make: half of all.
    pub(crate) fn max_open_calls(&self) -> usize {
        self.max_calls.div_ceil(2)
    }

    pub(super) fn handshake(&self) -> Duration {
        Duration::from_secs(self.handshake_seconds)
    }

    pub(super) fn idle(&self) -> Duration {
        Duration::from_secs(self.idle_seconds)
    }

    pub(super) fn patience(&self) -> Patience {
        let silence = Duration::from_secs(self.silence_seconds);
        Patience { silence, bytes_per_second: NonZeroU32::new(self.min_bytes_per_second) }
    }

    pub(super) fn keepalive(&self) -> Duration {
        Duration::from_secs(self.keepalive_seconds)
    }
}
