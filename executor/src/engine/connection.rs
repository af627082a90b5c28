//! One engine's HTTP side: a pooled client, deadlines, and answers of bounded size.

use std::{io, time::Duration};

use bytes::Bytes;
use futures::Stream;
use reqwest::{StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::{Class, Failure, lines::Lines};

/// Deadlines and bounds of one engine's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Seconds for a TCP connection. Default 5: engines are on this host.
    pub connect_seconds: u64,
    /// Seconds for an answer about the engine itself. Default 10: these are read from memory.
    pub probe_seconds: u64,
    /// Seconds for loading a model. Default 900: an engine gives up by itself after five minutes
    /// without progress, and a client that leaves earlier aborts the load.
    pub load_seconds: u64,
    /// Seconds that any answer may take. Default 600: room for a slow first prompt.
    pub answer_seconds: u64,
    /// Milliseconds more for each token of prompt and answer. Default 200: five tokens a
    /// second, the slowest engine worth waiting for.
    pub token_millis: u64,
    /// Bytes of one answer's body that are read at most. Default 64 MiB: some thousand embeddings,
    /// or four times the largest known vocabulary.
    pub max_body_bytes: usize,
}

/// Why a driver cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Engines are driven over plain HTTP, on their own host.
    #[error("engine URL {0} is not an http URL")]
    NotHttp(Url),
    /// An engine that is not managed has to be somewhere.
    #[error("engine has no URL")]
    NoUrl,
    /// The HTTP client could not be set up.
    #[error("http client could not be set up")]
    Client(#[source] reqwest::Error),
}

/// What came back, whatever it says.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// At most `max_body_bytes`.
    pub(super) body: Vec<u8>,
}

/// A client for one engine.
#[derive(Debug)]
pub(super) struct Connection {
    client: reqwest::Client,
    /// Without a final slash.
    base: String,
    options: Options,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_seconds: 5,
            probe_seconds: 10,
            load_seconds: 900,
            answer_seconds: 600,
            token_millis: 200,
            max_body_bytes: 64 << 20,
        }
    }
}

impl Options {
    /// How long an answer may take in which `tokens` are read or written.
    pub(super) fn answer_deadline(&self, tokens: u64) -> Duration {
        Duration::from_secs(self.answer_seconds)
            .saturating_add(Duration::from_millis(self.token_millis.saturating_mul(tokens)))
    }

    pub(super) fn load_deadline(&self) -> Duration {
        Duration::from_secs(self.load_seconds)
    }

    pub(super) fn probe_deadline(&self) -> Duration {
        Duration::from_secs(self.probe_seconds)
    }
}

// === impl Reply ===

impl Reply {
    pub(super) fn is_success(&self) -> bool {
        self.status == 200
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Nothing, if it is a success: also one that says that something was made.
    pub(super) fn success(&self) -> Result<(), Failure> {
        match self.status {
            200..300 => Ok(()),
            status => Err(Failure::refused(status, &self.text(), None)),
        }
    }

    /// The body of a success as `T`; anything else is a failure.
    pub(super) fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T, Failure> {
        if !self.is_success() {
            return Err(Failure::refused(self.status, &self.text(), None));
        }
        serde_json::from_slice(&self.body).map_err(|error| Failure::unreadable(&error))
    }
}

// === impl Connection ===

impl Connection {
    /// No proxy, no redirect: an engine is on this host or it is not ours.
    pub(super) fn new(url: &Url, options: Options) -> Result<Self, Error> {
        if url.scheme() != "http" || url.host().is_none() {
            return Err(Error::NotHttp(url.clone()));
        }
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(options.connect_seconds))
            .build()
            .map_err(Error::Client)?;
        Ok(Self { client, base: url.as_str().trim_end_matches('/').to_owned(), options })
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    pub(super) async fn get(&self, path: &str) -> Result<Reply, Failure> {
        let request = self.client.get(format!("{}{path}", self.base));
        self.send(request.timeout(self.options.probe_deadline())).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value, deadline: Duration) -> Result<Reply, Failure> {
        let request = self.client.post(format!("{}{path}", self.base)).json(body);
        self.send(request.timeout(deadline)).await
    }

    /// Whether there is something at `path`.
    pub(super) async fn has(&self, path: &str) -> Result<bool, Failure> {
        let request = self.client.head(format!("{}{path}", self.base));
        let reply = self.send(request.timeout(self.options.probe_deadline())).await?;
        match reply.status {
            404 => Ok(false),
            _ => reply.success().map(|()| true),
        }
    }

    /// Sends so many bytes as they come, for as long as they do. An error among them ends the call.
    pub(super) async fn upload(
        &self,
        path: &str,
        bytes: u64,
        body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<(), Failure> {
        let request = self.client.post(format!("{}{path}", self.base));
        let request = request.header(header::CONTENT_LENGTH, bytes).body(reqwest::Body::wrap_stream(body));
        self.send(request).await?.success()
    }

    /// Asks for an answer that comes line by line, for as long as it takes.
    pub(super) async fn lines(&self, path: &str, body: &Value) -> Result<Lines, Failure> {
        let request = self.client.post(format!("{}{path}", self.base)).json(body);
        let response = request.send().await.map_err(|error| lost(&error))?;
        if response.status() == StatusCode::OK {
            return Ok(Lines::new(response));
        }
        let refused = self.read(response).await?;
        Err(Failure::refused(refused.status, &refused.text(), None))
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Reply, Failure> {
        self.read(request.send().await.map_err(|error| lost(&error))?).await
    }

    async fn read(&self, mut response: reqwest::Response) -> Result<Reply, Failure> {
        let status = response.status().as_u16();
        let limit = self.options.max_body_bytes;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| lost(&error))? {
            if body.len() + chunk.len() > limit {
                let message = format!("the engine's answer is longer than {limit} bytes");
                return Err(Failure::own(Class::Request, "response_too_large", message));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply { status, body })
    }
}

/// No answer, or only a part of one: the engine is down until a probe says otherwise.
pub(super) fn lost(error: &reqwest::Error) -> Failure {
    let code =
        if error.is_timeout() && !error.is_connect() { Failure::TIMEOUT } else { "engine_unreachable" };
    let cause = std::iter::successors(std::error::Error::source(error), |error| error.source()).last();
    let message = cause.map_or_else(|| error.to_string(), ToString::to_string);
    Failure::own(Class::Down, code, message)
}
