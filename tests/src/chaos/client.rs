//! A client that does not give up: any gateway will do.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use caravan_proto::error::{self, Reason};
use tokio::time::{sleep, timeout};
use tonic::{Code, Status, transport::Endpoint};

use crate::Api;

/// Between two tries: longer would only make a run longer.
const PAUSE: Duration = Duration::from_millis(100);
/// A call that takes longer is left and made again: an input over a throttled link takes as long.
const CALL: Duration = Duration::from_secs(15);
/// A silent connection is noticed within two of these.
const KEEPALIVE: Duration = Duration::from_secs(1);

/// Calls over whichever gateway answers.
#[derive(Debug, Clone)]
pub(super) struct Client {
    gateways: Vec<Api>,
    /// The longest time without an answer.
    patience: Duration,
}

/// The tries of one call, one gateway after the other.
#[derive(Debug)]
pub(super) struct Tries<'a> {
    client: &'a Client,
    gateway: usize,
    since: Instant,
}

// === impl Client ===

impl Client {
    /// Of these gateways.
    ///
    /// # Errors
    /// If one is no URL.
    pub(super) fn new(urls: &[String], patience: Duration) -> anyhow::Result<Self> {
        let api = |url: &String| -> anyhow::Result<Api> {
            let endpoint = Endpoint::from_shared(url.clone())?
                .connect_timeout(KEEPALIVE)
                .http2_keep_alive_interval(KEEPALIVE)
                .keep_alive_timeout(KEEPALIVE);
            Ok(Api::on(endpoint.connect_lazy()))
        };
        Ok(Self { gateways: urls.iter().map(api).collect::<Result<_, _>>()?, patience })
    }

    /// New tries, beginning with the gateway of this number.
    pub(super) fn tries(&self, gateway: usize) -> Tries<'_> {
        Tries { client: self, gateway, since: Instant::now() }
    }

    /// Calls until there is an answer.
    ///
    /// # Errors
    /// What a server refuses, or that none answers for too long.
    pub(super) async fn persist<T>(
        &self,
        gateway: usize,
        mut call: impl AsyncFnMut(&Api) -> Result<T, Status>,
    ) -> anyhow::Result<T> {
        let mut tries = self.tries(gateway);
        loop {
            match timeout(CALL, call(tries.api()?)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(status)) => tries.failed(&status).await?,
                Err(_) => tries.failed(&Status::deadline_exceeded("the client left")).await?,
            }
        }
    }
}

// === impl Tries ===

impl Tries<'_> {
    /// The gateway whose turn it is.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn api(&self) -> anyhow::Result<&Api> {
        self.client.gateways.get(self.gateway % self.client.gateways.len().max(1)).context("no gateway")
    }

    /// The server answers: patience begins anew.
    pub(super) fn answered(&mut self) {
        self.since = Instant::now();
    }

    /// A stream that is opened is an answer, also if there is nothing to say: its batch waits for one of a higher
    /// priority.
    pub(super) fn opened<T>(&mut self, opened: &Result<T, Status>) {
        if opened.is_ok() {
            self.answered();
        }
    }

    /// Waits a moment and turns to the next gateway.
    ///
    /// # Errors
    /// The `status`, if another try will not help or there were tries for too long.
    pub(super) async fn failed(&mut self, status: &Status) -> anyhow::Result<()> {
        let reason = error::reason(status);
        if !passes(status, reason.as_deref()) {
            bail!("a client was told {:?} {reason:?}: {}", status.code(), status.message());
        }
        let patience = self.client.patience;
        if self.since.elapsed() > patience {
            bail!(
                "a client got no answer for {patience:?}, at last {:?}: {}",
                status.code(),
                status.message()
            );
        }
        self.gateway += 1;
        sleep(PAUSE).await;
        Ok(())
    }
}

/// Whether the same call may succeed later. Caravan's own errors carry a reason; a code
/// without one comes from the connection. What only says that both sides differ on how far an
/// upload is passes too.
fn passes(status: &Status, reason: Option<&str>) -> bool {
    let differs = [Reason::OffsetMismatch, Reason::UploadComplete, Reason::UploadOutOfOrder];
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded => true,
        Code::Unknown | Code::Internal | Code::Cancelled | Code::Aborted if reason.is_none() => true,
        _ => differs.iter().any(|differs| reason == Some(differs.as_str())),
    }
}
