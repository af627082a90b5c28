//! Calls under way: how many there are on all connections, and whether one connection has any.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http_body::{Body, Frame, SizeHint};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};

/// Those of one connection.
#[derive(Debug, Clone)]
pub(super) struct Calls {
    /// What is left for all connections.
    left: Arc<Semaphore>,
    here: watch::Sender<usize>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Call {
    _one: OwnedSemaphorePermit,
    here: watch::Sender<usize>,
}

/// The body of an answer: its call is under way until it has ended.
#[derive(Debug)]
pub(super) struct Answer<B> {
    body: B,
    _call: Option<Call>,
}

// === impl Calls ===

impl Calls {
    pub(super) fn new(left: Arc<Semaphore>) -> Self {
        Self { left, here: watch::Sender::new(0) }
    }

    /// Nothing if there are as many as there may be.
    pub(super) fn begin(&self) -> Option<Call> {
        let one = Arc::clone(&self.left).try_acquire_owned().ok()?;
        self.here.send_modify(|here| *here += 1);
        Some(Call { _one: one, here: self.here.clone() })
    }

    /// Waits until there was none for so long.
    pub(super) async fn idle(&self, limit: Duration) {
        let mut here = self.here.subscribe();
        loop {
            // The sender is our own.
            let _always = here.wait_for(|here| *here == 0).await.is_ok();
            if timeout(limit, here.changed()).await.is_err() {
                return;
            }
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.here.send_modify(|here| *here -= 1);
    }
}

// === impl Answer ===

impl<B> Answer<B> {
    pub(super) fn new(body: B, call: Option<Call>) -> Self {
        Self { body, _call: call }
    }
}

impl<B: Body + Unpin> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
