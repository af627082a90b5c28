//! What each tenant may take of a gateway: calls a second, streams at once, and bytes a second of uploads. Whoever
//! asks for more is told what the limit is and when to come again; an upload is only read more slowly.

mod body;
mod grpc;
mod options;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use caravan_proto::{Tenant, error::Reason};
use caravan_service::{connection::Answer, metrics::Metric};
use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};
use http_body::Body;
use http_body_util::{BodyExt as _, combinators::UnsyncBoxBody};
use opentelemetry::{KeyValue, metrics::Counter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

pub(crate) use grpc::Limited;
pub use options::{Options, Own};

const REFUSED: Metric =
    Metric::new("caravan.gateway.refused", "{call}", "calls beyond a limit of their tenant, by limit");

const KIB: u32 = 1 << 10;

/// When somebody with too many streams may try again: one of them may end at any time.
const STREAM_ENDS: Duration = Duration::from_secs(1);

/// The limits of all tenants; a cheap clone. Memory: some hundred bytes for each tenant that
/// called, if there is any limit.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    options: Arc<Options>,
    tenants: Arc<Mutex<HashMap<Tenant, Arc<Allowance>>>>,
    refused: Counter<u64>,
}

type Boxed<E> = UnsyncBoxBody<Bytes, E>;

/// What a tenant has left.
#[derive(Debug)]
struct Allowance {
    requests: Option<Rate>,
    streams: Option<(NonZeroU32, Arc<Semaphore>)>,
    upload: Option<Arc<Pace>>,
}

/// So many calls a second, and as many at once.
#[derive(Debug)]
struct Rate {
    per_second: NonZeroU32,
    limiter: DefaultDirectRateLimiter,
}

/// So many bytes a second, in KiB, which the limiter counts exactly enough; and as many at once.
#[derive(Debug)]
struct Pace {
    per_second: NonZeroU32,
    limiter: DefaultDirectRateLimiter,
    /// Bytes that are not a whole KiB yet. Who holds it is next: else small reads would always be before large ones.
    rest: tokio::sync::Mutex<usize>,
}

/// A call that was let in.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// Of a stream, for as long as it is open.
    stream: Option<OwnedSemaphorePermit>,
    /// What its body is read at.
    upload: Option<Arc<Pace>>,
}

// === impl Limits ===

impl Limits {
    pub(crate) fn new(options: Options) -> Self {
        Self { options: Arc::new(options), tenants: Arc::default(), refused: REFUSED.counter() }
    }

    /// Lets a call in, or a stream.
    ///
    /// # Errors
    /// `RATE_LIMITED`.
    pub(crate) fn admit(&self, tenant: &Tenant, is_stream: bool) -> Result<Admitted, Status> {
        if *self.options == Options::default() {
            return Ok(Admitted { stream: None, upload: None });
        }
        let allowance = self.allowance(tenant);
        let refuse = |(limit, status)| {
            self.refused.add(1, &[KeyValue::new("limit", limit)]);
            status
        };
        allowance.request().map_err(refuse)?;
        if !is_stream {
            return Ok(Admitted { stream: None, upload: None });
        }
        Ok(Admitted { stream: allowance.stream().map_err(refuse)?, upload: allowance.upload.clone() })
    }

    fn allowance(&self, tenant: &Tenant) -> Arc<Allowance> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = tenants.get(tenant) {
            return Arc::clone(known);
        }
        let new = Arc::new(Allowance::new(self.options.of(tenant)));
        tenants.insert(tenant.clone(), Arc::clone(&new));
        new
    }
}

// === impl Admitted ===

impl Admitted {
    /// The call's own body, read as fast as its tenant may upload.
    pub(crate) fn reads<B>(&self, body: B, boxed: impl FnOnce(Boxed<B::Error>) -> B) -> B
    where
        B: Body<Data = Bytes, Error: Send> + Send + 'static,
    {
        match &self.upload {
            Some(pace) => boxed(body::paced(body, Arc::clone(pace)).boxed_unsync()),
            None => body,
        }
    }

    /// The answer to the call, which is open until that has ended.
    pub(crate) fn answers<B>(self, body: B, boxed: impl FnOnce(Boxed<B::Error>) -> B) -> B
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        match self.stream {
            Some(place) => boxed(Answer::new(body, place).boxed_unsync()),
            None => body,
        }
    }
}

// === impl Allowance ===

impl Allowance {
    fn new(limits: options::Of) -> Self {
        let semaphore = |n: NonZeroU32| Arc::new(Semaphore::new(n.get() as usize));
        Self {
            requests: limits.requests_per_second.map(Rate::new),
            streams: limits.streams.map(|n| (n, semaphore(n))),
            upload: limits.upload_bytes_per_second.map(Pace::new).map(Arc::new),
        }
    }

    fn request(&self) -> Result<(), (&'static str, Status)> {
        const LIMIT: &str = "requests_per_second";

        let Some(rate) = &self.requests else { return Ok(()) };
        rate.take().map_err(|after| {
            let n = rate.per_second;
            let message = format!(
                "the tenant makes more calls a second here than it may, {n} (`limits.{LIMIT}` of the gateway): come \
                 again a little later"
            );
            (LIMIT, Reason::RateLimited.limit(message, LIMIT, n.get().into(), after))
        })
    }

    fn stream(&self) -> Result<Option<OwnedSemaphorePermit>, (&'static str, Status)> {
        const LIMIT: &str = "streams";

        let Some((n, streams)) = &self.streams else { return Ok(None) };
        Arc::clone(streams).try_acquire_owned().map(Some).map_err(|_| {
            let message = format!(
                "the tenant has as many streams open here as it may, {n} (`limits.{LIMIT}` of the gateway): end one \
                 of them first"
            );
            (LIMIT, Reason::RateLimited.limit(message, LIMIT, n.get().into(), STREAM_ENDS))
        })
    }
}

// === impl Rate ===

impl Rate {
    fn new(per_second: NonZeroU32) -> Self {
        Self { per_second, limiter: RateLimiter::direct(Quota::per_second(per_second)) }
    }

    /// Takes one, or says when there will be one.
    fn take(&self) -> Result<(), Duration> {
        self.limiter.check().map_err(|until| until.wait_time_from(DefaultClock::default().now()))
    }
}

// === impl Pace ===

impl Pace {
    /// What is less than one KiB is one.
    fn new(per_second: NonZeroU32) -> Self {
        let per_second = NonZeroU32::new(per_second.get() / KIB).unwrap_or(NonZeroU32::MIN);
        let limiter = RateLimiter::direct(Quota::per_second(per_second));
        Self { per_second, limiter, rest: tokio::sync::Mutex::default() }
    }

    /// Waits until so many bytes more may come.
    async fn wait(&self, bytes: usize) {
        let mut rest = self.rest.lock().await;
        *rest += bytes;
        while let Some(most) = u32::try_from(*rest / KIB as usize).ok().and_then(NonZeroU32::new) {
            let part = most.min(self.per_second);
            // A part is never more than there may be at once.
            let _within = self.limiter.until_n_ready(part).await;
            *rest -= part.get() as usize * KIB as usize;
        }
    }
}
