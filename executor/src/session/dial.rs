//! From an address to a stream on which the planner said welcome.

use std::time::Duration;

use caravan_proto::{
    MAX_MESSAGE_BYTES,
    v1::{
        ConnectRequest, ConnectResponse, Hello, Welcome, connect_request, connect_response::Message,
        work_service_client::WorkServiceClient,
    },
};
use caravan_service::client::Replica;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{Broken, Session};

/// Messages that wait for the network: enough to keep it busy, few enough that acks and
/// heartbeats are not late.
const OUTGOING: usize = 16;
/// Heartbeats come at least this often in a lease's life where the planner names no time.
const BEATS: u32 = 3;
/// No planner wants heartbeats more often.
const SHORTEST_BEAT: Duration = Duration::from_millis(10);

/// A stream to a planner.
pub(super) struct Stream {
    pub(super) outgoing: mpsc::Sender<ConnectRequest>,
    pub(super) incoming: Streaming<ConnectResponse>,
    /// Which it goes to.
    pub(super) planner: Replica,
    /// How long leases live without a heartbeat.
    pub(super) ttl: Duration,
    /// How often heartbeats are wanted.
    pub(super) heartbeat: Duration,
}

// === impl Session ===

impl Session {
    /// Dials a planner that serves and waits for its welcome.
    pub(super) async fn dial(&self) -> Result<Stream, Broken> {
        let bound = self.limits.lease_ttl();
        timeout(bound, self.shake_hands()).await.unwrap_or(Err(Broken::NoWelcome))
    }

    async fn shake_hands(&self) -> Result<Stream, Broken> {
        let mut client = WorkServiceClient::new(self.planners.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let (outgoing, messages) = mpsc::channel(OUTGOING);
        let hello = ConnectRequest { message: Some(connect_request::Message::Hello(self.hello())) };
        outgoing.try_send(hello).map_err(|_| Broken::Ended)?;
        let response = client.connect(ReceiverStream::new(messages)).await.map_err(Broken::Refused)?;
        let planner = response.extensions().get::<Replica>().cloned().ok_or(Broken::NoWelcome)?;
        let mut incoming = response.into_inner();
        let first = incoming.message().await.map_err(Broken::Refused)?.ok_or(Broken::Ended)?;
        let Some(Message::Welcome(welcome)) = first.message else { return Err(Broken::NoWelcome) };
        let (ttl, heartbeat) = times(&welcome, self.limits.lease_ttl());
        Ok(Stream { outgoing, incoming, planner, ttl, heartbeat })
    }

    fn hello(&self) -> Hello {
        let engines = self.engines(&[]);
        self.shelf.give_again();
        let profiles = self.shelf.fresh(&engines);
        Hello {
            executor: self.id.name(),
            host: self.host.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            engines,
            profiles,
        }
    }
}

fn times(welcome: &Welcome, default_ttl: Duration) -> (Duration, Duration) {
    let given = |duration: Option<prost_types::Duration>| {
        duration.and_then(|d| Duration::try_from(d).ok()).filter(|d| !d.is_zero())
    };
    let ttl = given(welcome.lease_ttl).unwrap_or(default_ttl);
    let heartbeat = given(welcome.heartbeat_interval).unwrap_or(ttl / BEATS);
    (ttl, heartbeat.max(SHORTEST_BEAT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planner_that_names_no_times_gets_ours() {
        let default = Duration::from_secs(30);
        assert_eq!(times(&Welcome::default(), default), (default, Duration::from_secs(10)));
        let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
        let welcome = Welcome { lease_ttl: seconds(9), heartbeat_interval: seconds(2) };
        assert_eq!(times(&welcome, default), (Duration::from_secs(9), Duration::from_secs(2)));
    }
}
