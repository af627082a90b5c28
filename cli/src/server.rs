//! The server that the client commands talk to.

use std::{path::PathBuf, time::Duration};

use caravan_proto::{
    MAX_MESSAGE_BYTES,
    v1::{
        access_service_client::AccessServiceClient, batch_service_client::BatchServiceClient,
        file_service_client::FileServiceClient, fleet_service_client::FleetServiceClient,
    },
};
use caravan_service::{
    client::{self, Replica, Replicas, State},
    compression::Compression,
    explain,
    secret::Secret,
    tls,
};
use tonic::{Response, Status, codec::CompressionEncoding};
use url::Url;

use crate::{failure::Failure, patience::Patience, span};

/// Which server, and how long to wait for it.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// URL of the server's gRPC address; several with commas between: the first that serves is used.
    #[arg(long, global = true, env = "CARAVAN_SERVER", default_value = "http://127.0.0.1:4081",
        value_name = "URL", value_parser = parse_url, value_delimiter = ',', help_heading = "Server")]
    server: Vec<Url>,
    /// API key that is shown with every call. In a command line others see it: give CARAVAN_API_KEY, or a file.
    #[arg(
        long,
        global = true,
        env = "CARAVAN_API_KEY",
        hide_env_values = true,
        value_name = "KEY",
        conflicts_with = "api_key_file",
        help_heading = "Server"
    )]
    api_key: Option<Secret>,
    /// File with nothing but the API key.
    #[arg(long, global = true, env = "CARAVAN_API_KEY_FILE", value_name = "FILE", help_heading = "Server")]
    api_key_file: Option<PathBuf>,
    /// How long to go on without an answer once the server was reached, e.g. 60s or 15m.
    #[arg(long, global = true, env = "CARAVAN_PATIENCE", default_value = "60s",
        value_name = "TIME", value_parser = span::parse, help_heading = "Server")]
    patience: Duration,
    /// Whether to compress what is sent, and to ask for compressed answers; auto: unless the
    /// server is on this machine.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "auto",
        value_name = "WHEN",
        help_heading = "Server"
    )]
    compress: Compression,
    /// PEM file with the authorities that vouch for an https server [default: this system's].
    #[arg(long, global = true, env = "CARAVAN_TLS_CA", value_name = "FILE", help_heading = "Server")]
    tls_ca: Option<PathBuf>,
    /// PEM file with a certificate to show to an https server, and those between it and its authority.
    #[arg(
        long,
        global = true,
        env = "CARAVAN_TLS_CERTIFICATE",
        value_name = "FILE",
        requires = "tls_key",
        help_heading = "Server"
    )]
    tls_certificate: Option<PathBuf>,
    /// PEM file with its private key.
    #[arg(
        long,
        global = true,
        env = "CARAVAN_TLS_KEY",
        value_name = "FILE",
        requires = "tls_certificate",
        help_heading = "Server"
    )]
    tls_key: Option<PathBuf>,
}

/// A server that was reached; connections are made anew, and with another one, as often as needed.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    url: String,
    replicas: Replicas,
    encoding: Option<CompressionEncoding>,
    patience: Duration,
}

// === impl Options ===

impl Options {
    fn client(&self) -> client::Options {
        let tls = tls::ClientOptions {
            ca: self.tls_ca.clone(),
            certificate: self.tls_certificate.clone(),
            key: self.tls_key.clone(),
            ..tls::ClientOptions::default()
        };
        let (token, token_file) = (self.api_key.clone(), self.api_key_file.clone());
        client::Options { tls, token, token_file, ..client::Options::default() }
    }
}

// === impl Server ===

impl Server {
    /// Reaches the server, once and without patience: a wrong address is told at once.
    pub(crate) async fn connect(options: &Options) -> Result<Self, Failure> {
        let replicas = Replicas::new(&options.server, &options.client())
            .map_err(|error| Failure::Usage(explain(&error)))?;
        let url = replicas.all().iter().map(Replica::url).collect::<Vec<_>>().join(", ");
        if replicas.heard().await == State::Down {
            let mut failures = replicas.all().iter().filter_map(Replica::failure);
            let reason =
                failures.next_back().map_or_else(|| "nobody answers there".to_owned(), |why| why.to_string());
            return Err(Failure::NotReached { server: url, reason });
        }
        let encoding = options.compress.encoding(&options.server);
        Ok(Self { url, replicas, encoding, patience: options.patience })
    }

    /// Files.
    pub(crate) fn files(&self) -> FileServiceClient<Replicas> {
        let client =
            FileServiceClient::new(self.replicas.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        match self.encoding {
            Some(encoding) => client.send_compressed(encoding).accept_compressed(encoding),
            None => client,
        }
    }

    /// Batches.
    pub(crate) fn batches(&self) -> BatchServiceClient<Replicas> {
        let client =
            BatchServiceClient::new(self.replicas.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        match self.encoding {
            Some(encoding) => client.send_compressed(encoding).accept_compressed(encoding),
            None => client,
        }
    }

    /// The fleet.
    pub(crate) fn fleet(&self) -> FleetServiceClient<Replicas> {
        FleetServiceClient::new(self.replicas.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// API keys.
    pub(crate) fn access(&self) -> AccessServiceClient<Replicas> {
        AccessServiceClient::new(self.replicas.clone())
    }

    /// Patience for a new undertaking.
    pub(crate) fn patience(&self) -> Patience {
        Patience::new(self.url.clone(), self.patience)
    }

    /// The longest silence of a stream that sends signs of life.
    pub(crate) fn longest_silence(&self) -> Duration {
        self.patience
    }

    /// Makes one call that may be repeated, until it is answered or patience ends.
    pub(crate) async fn call<Q: Clone, T>(
        &self,
        request: Q,
        send: impl AsyncFn(Q) -> Result<Response<T>, Status>,
    ) -> Result<T, Failure> {
        let mut patience = self.patience();
        loop {
            match send(request.clone()).await {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) => patience.wait(status).await?,
            }
        }
    }
}

/// Takes `http://host:port`, `https://host:port` and `host:port`, which is http.
fn parse_url(text: &str) -> Result<Url, String> {
    let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = Url::parse(&url).map_err(|error| format!("not a URL: {error}"))?;
    if matches!(url.scheme(), "http" | "https") && url.host().is_some() {
        Ok(url)
    } else {
        Err("give it as http://host:port or https://host:port".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_may_leave_out_its_scheme() {
        assert_eq!(parse_url("localhost:4081").map(String::from), Ok("http://localhost:4081/".into()));
        assert_eq!(parse_url("https://there").map(String::from), Ok("https://there/".into()));
        for bad in ["ftp://localhost", "http://"] {
            assert!(parse_url(bad).is_err(), "{bad}");
        }
    }
}
