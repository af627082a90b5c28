use caravan_proto::v1::WatchBatchResponse;
use futures::{StreamExt as _, stream};
use tokio::sync::watch;
use tonic::Status;

use super::{
    Messages,
    latest::{Latest, Position},
};
use crate::upstream::leaving;

/// One who watches a batch. It holds no message but its first: whatever it is too slow for, it gets as a whole.
pub(super) struct Subscriber {
    first: Option<Box<WatchBatchResponse>>,
    position: Position,
    /// None once the batch has ended, or is not to be watched any more.
    latest: Option<watch::Receiver<Latest>>,
}

// === impl Subscriber ===

impl Subscriber {
    /// One who gets `first`, which tells of `revision`, and then what comes.
    pub(super) fn new(
        first: WatchBatchResponse,
        revision: i64,
        mut latest: Option<watch::Receiver<Latest>>,
    ) -> Self {
        if let Some(latest) = &mut latest {
            // What is there already comes next.
            latest.mark_changed();
        }
        let position = Position::behind(&first, revision);
        Self { first: Some(Box::new(first)), position, latest }
    }

    pub(super) fn messages(self) -> Messages {
        stream::unfold(self, |mut subscriber| async move {
            let next = subscriber.next().await?;
            Some((next, subscriber))
        })
        .boxed()
    }

    async fn next(&mut self) -> Option<Result<WatchBatchResponse, Status>> {
        if let Some(first) = self.first.take() {
            return Some(Ok(*first));
        }
        let latest = self.latest.as_mut()?;
        let next = loop {
            if latest.changed().await.is_err() {
                break Err(leaving());
            }
            // The state is shared; the lock is held for no longer than it takes to get hold of it.
            let now = latest.borrow_and_update().clone();
            match now {
                Latest::Unknown => {}
                Latest::State(state) => {
                    if let Some(message) = self.position.advance(&state) {
                        break Ok(message);
                    }
                }
                Latest::Lost(status) => break Err(status),
            }
        };
        if next.as_ref().map_or(true, |message| message.r#final) {
            self.latest = None;
        }
        Some(next)
    }
}
