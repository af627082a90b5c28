use std::time::Duration;

use caravan_proto::v1::{WatchBatchRequest, WatchBatchResponse};
use futures::StreamExt as _;
use tokio::{sync::watch, time::timeout};
use tonic::{Request, Status};

use super::{Key, Latest, Watches};
use crate::{relay::Relay, upstream::leaving};

/// Subscribers hear at least so often that their stream lives, whatever the planner says: below the idle limits
/// of proxies, and a little more than the planner's own, which is 15 s.
const HEARTBEAT: Duration = Duration::from_secs(20);

// === impl Watches ===

impl Watches {
    /// Keeps the latest state of a batch up to date, as long as anybody watches it.
    pub(super) async fn follow(
        self,
        key: Key,
        request: Request<WatchBatchRequest>,
        sender: watch::Sender<Latest>,
    ) {
        let end = self.keep_up(&key, &request, &sender).await;
        // Who comes now begins anew.
        self.forget(&key, &sender);
        match end {
            Ok(last) => drop(last.map(|last| sender.send_replace(last))),
            Err(status) => drop(sender.send_replace(Latest::Lost(status))),
        }
    }

    /// Gives the last state; none if nobody watches any more.
    async fn keep_up(
        &self,
        key: &Key,
        request: &Request<WatchBatchRequest>,
        sender: &watch::Sender<Latest>,
    ) -> Result<Option<Latest>, Status> {
        let mut watch = self.watch(request).await?;
        loop {
            let message = tokio::select! {
                message = next(&mut watch) => message?,
                () = sender.closed() => {
                    if self.forget_unwatched(key, sender) {
                        return Ok(None);
                    }
                    continue;
                }
            };
            let Some(message) = message else {
                sender.send_modify(|_life| {});
                continue;
            };
            let ended = message.r#final;
            let latest = sender.borrow().with(message);
            if ended {
                return Ok(Some(latest));
            }
            sender.send_replace(latest);
        }
    }
}

/// The planner's next word; none if it takes its time.
async fn next(watch: &mut Relay<WatchBatchResponse>) -> Result<Option<WatchBatchResponse>, Status> {
    match timeout(HEARTBEAT, watch.next()).await {
        Ok(Some(message)) => message.map(Some),
        Ok(None) => Err(leaving()),
        Err(_silent) => Ok(None),
    }
}
