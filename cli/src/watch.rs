//! One watch of a batch over any number of connections.

use std::time::Duration;

use caravan_proto::{
    error::{self, Reason},
    v1::{Batch, WatchBatchRequest, WatchBatchResponse, watch_batch_response::Event},
};
use tonic::{Status, Streaming};

use crate::{delta, failure::Failure, patience::Patience, server::Server};

/// What is known of a batch, kept up to date.
pub(crate) struct Watch<'a> {
    server: &'a Server,
    name: String,
    /// The last token seen: a new connection goes on from there and misses nothing.
    token: String,
    batch: Batch,
    stream: Option<Streaming<WatchBatchResponse>>,
    patience: Patience,
    ended: bool,
}

// === impl Watch ===

impl<'a> Watch<'a> {
    /// A watch of the batch `name`; it connects with the first `next`.
    pub(crate) fn new(server: &'a Server, name: String) -> Self {
        let patience = server.patience();
        Self {
            server,
            name,
            token: String::new(),
            batch: Batch::default(),
            stream: None,
            patience,
            ended: false,
        }
    }

    /// The batch after the next change; none once it has ended.
    pub(crate) async fn next(&mut self) -> Result<Option<&Batch>, Failure> {
        while !self.ended {
            match self.message().await {
                Ok(message) => {
                    self.patience.answered();
                    if self.take(message) {
                        return Ok(Some(&self.batch));
                    }
                }
                Err(status) => self.broken(status).await?,
            }
        }
        Ok(None)
    }

    /// The next message, from a new stream if there is none.
    async fn message(&mut self) -> Result<WatchBatchResponse, Status> {
        let silence = self.server.longest_silence();
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let request = WatchBatchRequest { name: self.name.clone(), resume_token: self.token.clone() };
                let response = within(silence, self.server.batches().watch_batch(request)).await?;
                self.stream.insert(response.into_inner())
            }
        };
        let message = within(silence, stream.message()).await?;
        message.ok_or_else(|| Status::unavailable("the watch ended before the batch did"))
    }

    async fn broken(&mut self, status: Status) -> Result<(), Failure> {
        self.stream = None;
        if error::reason(&status).as_deref() == Some(Reason::InvalidResumeToken.as_str())
            && !self.token.is_empty()
        {
            // A server that does not know the token sends a snapshot instead.
            self.token.clear();
            return Ok(());
        }
        self.patience.wait(status).await
    }

    /// Whether the message said something of the batch.
    fn take(&mut self, message: WatchBatchResponse) -> bool {
        self.ended = message.r#final;
        self.token = message.resume_token;
        match message.event {
            Some(Event::Snapshot(batch)) => self.batch = batch,
            Some(Event::Delta(delta)) => delta::apply(&mut self.batch, delta),
            Some(Event::Heartbeat(_)) | None => return false,
        }
        true
    }
}

/// A server sends signs of life: one that is silent for so long is gone, whatever TCP says.
async fn within<T>(silence: Duration, answer: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    match tokio::time::timeout(silence, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(Status::unavailable("no sign of life")),
    }
}
