use std::{sync::Arc, time::Duration};

use caravan_service::{
    client::{self, Replicas},
    compression::Compression,
    config::{self, Section},
    identity::{self, Guard},
    listen,
    ready::Ready,
    serve, shutdown, telemetry, tls,
};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{
    keys::KeyHolders,
    limits::{self, Limits},
    rest,
    service::{Error, Service},
    upstream::Upstream,
};

/// Configuration of the gateway; keys as in its TOML file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// `HOST:PORT` of the gRPC server; port 0 for any free one.
    pub listen: String,
    /// `HOST:PORT` of the HTTP server; port 0 for any free one.
    pub http_listen: String,
    /// URLs of planners, in order of preference: the first that serves is used.
    pub planner: Vec<Url>,
    /// Calls may go on for so many seconds once the gateway is asked to stop.
    pub drain_seconds: u64,
    /// Longest time of one HTTP request, in seconds; of a stream of events, until it begins.
    pub http_timeout_seconds: u64,
    /// Origins, as `https://HOST[:PORT]`, whose pages browsers let call the HTTP server. Default none: only
    /// pages that come from the server's own address.
    pub cors_origins: Vec<Url>,
    /// A watch or a stream of results whose planner is lost goes on with another one, which is looked for
    /// for so many seconds; then the client is told to resume it. Default 60: a database that restarts is waited
    /// for.
    pub resume_seconds: u64,
    /// Whether calls to the planner are compressed.
    pub compression: Compression,
    /// Who may call.
    pub identity: identity::Options,
    /// What each tenant may take.
    pub limits: limits::Options,
    /// TLS of both ports.
    pub tls: tls::Options,
    /// Bounds of each port.
    pub server: serve::Options,
    /// The connections to planners.
    pub client: client::Options,
    /// Lines on stderr, traces and metrics.
    pub telemetry: telemetry::Options,
}

impl Options {
    /// What can be found wrong without a network or a file; these options stand `at` a place of the configuration.
    ///
    /// # Errors
    /// If a value is out of its range, or some do not go together.
    pub fn check(&self, at: Section) -> Result<(), config::Error> {
        let planners = !self.planner.is_empty() && self.planner.iter().all(client::is_server);
        at.check(planners, "planner", "a list of at least one URL, of http or https")?;
        at.check(self.http_timeout_seconds > 0, "http_timeout_seconds", "at least 1")?;
        let origins = self.cors_origins.iter().all(rest::cors::is_origin);
        at.check(origins, "cors_origins", "a list of https://HOST[:PORT]")?;
        self.server.check(&at.key("server"))?;
        self.limits.check(&at.key("limits"))?;
        self.tls.check(&at.key("tls"))?;
        self.client.check(&at.key("client"))?;
        self.telemetry.check(&at.key("telemetry"))?;
        let identity = at.key("identity");
        self.identity.check(&identity)?;
        self.identity.check_listen(&identity, &at.key("listen"), &self.listen)?;
        self.identity.check_listen(&identity, &at.key("http_listen"), &self.http_listen)
    }

    /// Binds both ports. The planner need not be there yet.
    ///
    /// # Errors
    /// As [`check`](Self::check), or if a port is taken, or a certificate cannot be used.
    pub async fn build(&self) -> Result<Service, Error> {
        self.check(Section::TOP)?;
        let tls = tls::Server::new(&self.tls)?;
        let planners = Replicas::new(&self.planner, &self.client)?;
        let planner = Upstream::new(planners, self.compression.encoding(&self.planner));
        let grpc = listen::bind(&self.listen).await?.with_tls(tls.clone());
        let http = listen::bind(&self.http_listen).await?.with_tls(tls);
        self.identity.check_address("identity", "listen", grpc.local_addr())?;
        self.identity.check_address("identity", "http_listen", http.local_addr())?;
        let addresses = Ready::new(Some(grpc.url()), Some(http.url()));
        let guard = Guard::new(&self.identity, Arc::new(KeyHolders::new(planner.clone())))?;
        let http_timeout = Duration::from_secs(self.http_timeout_seconds);
        let resume = Duration::from_secs(self.resume_seconds);
        Ok(Service {
            grpc,
            http,
            addresses,
            planner,
            http_timeout,
            origins: self.cors_origins.clone(),
            resume,
            guard,
            limits: Limits::new(self.limits.clone()),
            server: self.server.clone(),
        })
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:4081".to_owned(),
            http_listen: "127.0.0.1:4080".to_owned(),
            planner: Url::parse("http://127.0.0.1:4082").into_iter().collect(),
            drain_seconds: shutdown::DEFAULT_DRAIN.as_secs(),
            // As long as the usual proxies wait for an answer's head is 60 s: be there first.
            http_timeout_seconds: 30,
            cors_origins: Vec::new(),
            resume_seconds: 60,
            compression: Compression::default(),
            identity: identity::Options::default(),
            limits: limits::Options::default(),
            tls: tls::Options::default(),
            // A client of the gateway speaks for itself: it has no need for all calls of a connection or of the port,
            // and no reason to be quiet in the middle of one. 10,000 may watch through one proxy.
            server: serve::Options {
                max_concurrent_streams: 1_024,
                max_calls_per_address: 16_384,
                min_bytes_per_second: 500,
                ..serve::Options::default()
            },
            client: client::Options::default(),
            telemetry: telemetry::Options::default(),
        }
    }
}
