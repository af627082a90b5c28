//! The stream to a planner: dialled for ever, lost without loss.

mod dial;
mod heartbeat;

use std::{path::PathBuf, sync::Arc, time::Duration};

use caravan_proto::{
    name::ExecutorId,
    v1::{ConnectRequest, ConnectResponse, connect_request, connect_response::Message},
};
use caravan_service::{
    client::{Replica, Replicas},
    ready::{self, Ready},
};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use crate::{
    backoff::Backoff, calibrate::shelf::Shelf, ledger::Ledger, metrics, models::Errands, options::Limits,
    service::Error, unit::Unit, vram::Vram,
};
use dial::Stream;

/// Speaks for this process with one planner at a time.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: ExecutorId,
    pub(crate) host: String,
    /// Any of them will do.
    pub(crate) planners: Replicas,
    pub(crate) limits: Limits,
    pub(crate) units: Vec<Arc<Unit>>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) errands: Arc<Errands>,
    pub(crate) vram: Arc<Vram>,
    /// Profiles that were measured here.
    pub(crate) shelf: Arc<Shelf>,
    /// Written once a planner has said welcome.
    pub(crate) ready_file: Option<PathBuf>,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("{}: {}", .0.code(), .0.message())]
    Refused(Status),
    #[error("the planner ended the stream")]
    Ended,
    #[error("the planner said nothing for too long")]
    Silent,
    #[error("the planner did not say welcome")]
    NoWelcome,
    #[error("the planner goes away")]
    Drained(Duration),
    #[error("the planner does not serve, and another one does")]
    Unfit,
}

// === impl Session ===

impl Session {
    /// Dials planners until `lanes_ended` and nothing is owed any more.
    ///
    /// # Errors
    /// If the ready file cannot be written.
    pub(crate) async fn run(mut self, lanes_ended: CancellationToken) -> Result<(), Error> {
        let mut pauses = Backoff::new(self.limits.first_pause(), self.limits.longest_pause());
        loop {
            let broken = match self.dial().await {
                Ok(stream) => {
                    pauses.reset();
                    metrics::connected();
                    self.announce(&stream.planner)?;
                    let broken = self.serve(stream, &lanes_ended).await;
                    self.ledger.disconnected();
                    self.errands.disconnected();
                    broken
                }
                Err(broken) => Err(broken),
            };
            let Err(why) = broken else { return Ok(()) };
            if lanes_ended.is_cancelled() && self.ledger.is_settled() {
                return Ok(());
            }
            let pause = match why {
                // No longer than half a lease lives: whatever is held must be renewed.
                Broken::Drained(after) if self.planners.all().len() == 1 => after.min(self.ledger.ttl() / 2),
                _ => pauses.pause(),
            };
            tracing::warn!(%why, ?pause, "not connected: dialling again");
            sleep(pause).await;
        }
    }

    fn announce(&mut self, planner: &Replica) -> Result<(), Error> {
        tracing::info!(planner = planner.url(), executor = %self.id, "connected");
        match self.ready_file.take() {
            Some(path) => ready::write(&path, &Ready::new(None, None)).map_err(Error::Ready),
            None => Ok(()),
        }
    }

    /// Runs one stream until it breaks, or until nothing is owed any more.
    async fn serve(&self, stream: Stream, lanes_ended: &CancellationToken) -> Result<(), Broken> {
        let Stream { outgoing, mut incoming, planner, ttl, heartbeat } = stream;
        self.ledger.connected(ttl);
        let mut beat = interval(heartbeat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        while !(lanes_ended.is_cancelled() && self.ledger.is_settled()) {
            tokio::select! {
                message = incoming.message() => {
                    heard = Instant::now();
                    self.take(message.map_err(Broken::Refused)?.ok_or(Broken::Ended)?)?;
                }
                room = outgoing.reserve(), if self.ledger.has_next() || self.errands.has_report() => {
                    let room = room.map_err(|_| Broken::Ended)?;
                    if let Some(message) = self.next() {
                        room.send(ConnectRequest { message: Some(message) });
                    }
                }
                () = self.ledger.outgoing() => {}
                () = self.errands.to_report() => {}
                () = lanes_ended.cancelled(), if !lanes_ended.is_cancelled() => {}
                _ = beat.tick() => self.ledger.report(),
                () = self.planners.better_than(&planner) => return Err(Broken::Unfit),
                () = sleep_until(heard + ttl) => return Err(Broken::Silent),
            }
        }
        close(outgoing, incoming).await;
        Ok(())
    }

    /// The next message: signs of life first, as a planner that knows this process anew
    /// must hear of its engines and leases before anything else.
    fn next(&self) -> Option<connect_request::Message> {
        if self.ledger.take_report() {
            return Some(connect_request::Message::Heartbeat(self.heartbeat()));
        }
        let report = || self.errands.next_report().map(connect_request::Message::ModelProgress);
        self.ledger.next().or_else(report)
    }

    fn take(&self, response: ConnectResponse) -> Result<(), Broken> {
        match response.message {
            Some(Message::Lease(lease)) => self.ledger.accept(lease),
            Some(Message::Ack(ack)) => self.ledger.acked(&ack),
            Some(Message::Revoke(revoke)) => self.ledger.revoke(&revoke),
            Some(Message::HeartbeatReply(reply)) => self.ledger.lost(&reply.lost),
            Some(Message::Drain(drain)) => {
                let after = drain.retry_after.and_then(|after| Duration::try_from(after).ok());
                return Err(Broken::Drained(after.unwrap_or_default()));
            }
            Some(Message::WantVocabulary(want)) => self.ledger.want_vocabulary(want.vocabulary),
            Some(Message::EnsureModel(errand)) => self.errands.accept(errand),
            // A second welcome says nothing new, and neither does what a newer planner may say.
            Some(Message::Welcome(_)) | None => {}
        }
        Ok(())
    }
}

/// Ends our side and reads the planner's to its end, so that what was sent last arrives.
/// The caller bounds how long that may take.
async fn close(outgoing: mpsc::Sender<ConnectRequest>, mut incoming: Streaming<ConnectResponse>) {
    drop(outgoing);
    while let Ok(Some(_)) = incoming.message().await {}
}
