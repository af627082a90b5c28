//! Who is told of the end of a batch. What is to be told is a row from the batch's creation on, so that whoever
//! dies between the end and the telling leaves it to another: each end is told at least once, under one id.
//! One replica tells at a time.

mod address;
mod notice;
mod options;
mod post;
mod secret;
#[cfg(test)]
mod tests;

use std::{error::Error as StdError, sync::Arc, time::Duration};

use caravan_proto::name::BatchId;
use futures::future::join_all;
pub use options::{Options, Wrong};
use rand::Rng as _;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::post::{Post, Refusal};
use crate::{
    clock,
    store::{self, Batch, Exclusive, Store, Untold},
};

/// Rows are looked at this often.
const LOOK: Duration = Duration::from_secs(1);
/// So many are told at once: a receiver that hangs holds up the others no longer than the time limit of one.
const AT_ONCE: i64 = 32;
const TASK: Exclusive = Exclusive::Upkeep("webhooks");

/// The pause behind the first attempt; it doubles with each, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);

/// Tells of ends.
pub(crate) struct Webhooks {
    options: Options,
    store: Arc<dyn Store>,
    post: Post,
}

// === impl Webhooks ===

impl Webhooks {
    /// For the batches of `store`.
    ///
    /// # Errors
    /// If no TLS is to be had.
    pub(crate) fn new(options: Options, store: Arc<dyn Store>) -> Result<Self, reqwest::Error> {
        Ok(Self { post: Post::new(&options)?, options, store })
    }

    /// Tells until stopped; what is broken off then is told again.
    pub(crate) async fn run(self, stop: CancellationToken) {
        loop {
            let done = tokio::select! {
                done = self.round() => done,
                () = stop.cancelled() => return,
            };
            if let Err(error) = done {
                tracing::error!(error = &error as &dyn StdError, "webhooks are held up");
            }
            tokio::select! {
                () = sleep(LOOK) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn round(&self) -> Result<(), store::Error> {
        let now = self.store.now().await?;
        if self.store.untold(now, 1).await?.is_empty() {
            return Ok(());
        }
        let Some(_claim) = self.store.exclusive(TASK).await? else { return Ok(()) };
        let untold = self.store.untold(now, AT_ONCE).await?;
        join_all(untold.into_iter().map(|untold| self.tell(untold))).await.into_iter().collect()
    }

    async fn tell(&self, Untold { batch: id, attempts }: Untold) -> Result<(), store::Error> {
        let Some(batch) = self.store.batch(id).await? else { return Ok(()) };
        let now = self.store.now().await?;
        match self.post.send(&batch, now).await {
            Ok(()) => {
                tracing::info!(batch = %id, attempts, "its end was told");
                self.store.told(id).await
            }
            Err(refusal) => self.refused(id, &batch, attempts, refusal).await,
        }
    }

    async fn refused(
        &self,
        id: BatchId,
        batch: &Batch,
        attempts: i32,
        refusal: Refusal,
    ) -> Result<(), store::Error> {
        let due = self.store.now().await?.saturating_add(clock::span(pause(attempts)));
        let until = batch.ended.unwrap_or_default().saturating_add(clock::span(self.options.give_up()));
        if due > until || refusal.is_final() {
            tracing::warn!(batch = %id, attempts, error = &refusal as &dyn StdError, "its end is not told any more");
            return self.store.told(id).await;
        }
        tracing::info!(batch = %id, attempts, error = &refusal as &dyn StdError, "its end is told again later");
        self.store.put_off(id, due).await
    }
}

/// Behind so many attempts before this one. Up to a quarter more, so that many do not come at once.
fn pause(attempts: i32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << attempts.clamp(0, 16)).min(LONGEST_PAUSE);
    doubled.mul_f64(rand::rng().random_range(1.0..1.25))
}
