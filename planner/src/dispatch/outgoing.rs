use std::time::Duration;

use caravan_proto::v1::{ConnectResponse, connect_response::Message};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// An executor that takes nothing for so long has a broken connection.
const STALLED: Duration = Duration::from_secs(5);

/// The way to one executor. A message that cannot be delivered ends the session: the
/// executor dials again, and both sides say anew what they hold. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Outgoing {
    sender: mpsc::Sender<Result<ConnectResponse, tonic::Status>>,
    broken: CancellationToken,
}

// === impl Outgoing ===

impl Outgoing {
    /// The way into `sender`; `broken` is cancelled when a message cannot be delivered.
    #[must_use]
    pub fn new(
        sender: mpsc::Sender<Result<ConnectResponse, tonic::Status>>,
        broken: CancellationToken,
    ) -> Self {
        Self { sender, broken }
    }

    /// Sends a message; waits while the executor is slow. False if the session is over.
    pub async fn send(&self, message: Message) -> bool {
        let message = ConnectResponse { message: Some(message) };
        let sent = tokio::select! {
            sent = self.sender.send_timeout(Ok(message), STALLED) => sent.is_ok(),
            () = self.broken.cancelled() => false,
        };
        if !sent {
            self.broken.cancel();
        }
        sent
    }

    /// Resolves once the executor takes nothing any more: its call was ended.
    pub async fn closed(&self) {
        self.sender.closed().await;
    }

    /// Ends the session, with a status for the executor.
    pub fn close(&self, status: tonic::Status) {
        let _full_or_gone = self.sender.try_send(Err(status));
        self.broken.cancel();
    }

    /// Whether both are the same session.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.sender.same_channel(&other.sender)
    }
}
