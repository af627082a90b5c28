use std::{net::SocketAddr, sync::Arc};

use reqwest::{
    Client, StatusCode,
    dns::{Addrs, Name, Resolve, Resolving},
    header::CONTENT_TYPE,
    redirect::Policy,
};

use super::{Options, Wrong, notice::notice};
use crate::store::{Batch, Micros};

/// Why an end was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// It may not be told there, or not any more: the configuration is another than when the batch was created.
    #[error(transparent)]
    Wrong(#[from] Wrong),
    /// No answer came.
    #[error("the receiver was not reached")]
    Unreached(#[source] reqwest::Error),
    /// The receiver did not take it. A redirect is not followed.
    #[error("the receiver answered {0}")]
    Answer(StatusCode),
}

/// All addresses of a host are inside.
#[derive(Debug, thiserror::Error)]
#[error("the receiver's host has no address that webhooks may lead to")]
struct Inside;

/// Sends what is to be told.
pub(super) struct Post {
    options: Options,
    client: Client,
}

/// Finds a host's addresses, and gives those that may be told: a connection is made to one of these.
struct Outside(Options);

// === impl Post ===

impl Post {
    pub(super) fn new(options: &Options) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .redirect(Policy::none())
            // A proxy would look for the host itself.
            .no_proxy()
            .dns_resolver(Arc::new(Outside(options.clone())))
            // A connection that is kept would be to an address of yesterday.
            .pool_max_idle_per_host(0)
            .timeout(options.timeout())
            .user_agent(concat!("caravan/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { options: options.clone(), client })
    }

    /// Tells the end of a batch. The answer's body is not read.
    pub(super) async fn send(&self, batch: &Batch, now: Micros) -> Result<(), Refusal> {
        let tenant = batch.tenant.as_str();
        let url = self.options.check(tenant, &batch.spec.webhook)?;
        let secret = self.options.secrets.get(tenant).ok_or(Wrong::NoSecret)?;
        let (id, seconds, body) = (batch.id.to_string(), now / 1_000_000, notice(batch).to_string());
        let request = self
            .client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-signature", secret.sign(&id, seconds, &body))
            .header("webhook-id", id)
            .header("webhook-timestamp", seconds)
            .body(body);
        // The URL may hold a secret of the receiver's: it stays out of logs.
        let answer = request.send().await.map_err(|error| Refusal::Unreached(error.without_url()))?;
        if answer.status().is_success() { Ok(()) } else { Err(Refusal::Answer(answer.status())) }
    }
}

// === impl Refusal ===

impl Refusal {
    /// Whether nothing will come of another try.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Answer(StatusCode::GONE))
    }
}

// === impl Outside ===

impl Resolve for Outside {
    fn resolve(&self, name: Name) -> Resolving {
        let options = self.0.clone();
        Box::pin(async move {
            let host = name.as_str();
            let found = tokio::net::lookup_host((host, 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|found| options.allows(host, found.ip())).collect();
            if allowed.is_empty() {
                return Err(Inside.into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}
