use std::time::Duration;

use caravan_proto::{
    MAX_MESSAGE_BYTES,
    v1::{
        access_service_server::AccessServiceServer, batch_service_server::BatchServiceServer,
        file_service_server::FileServiceServer, fleet_service_server::FleetServiceServer,
    },
};
use caravan_service::{
    Shutdown,
    client::{self, Replicas, State},
    compression::ACCEPTED,
    config,
    identity::Guard,
    listen::{self, Bound},
    ready::Ready,
    serve::{self, Services},
    tls,
};

use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::{
    forward::Forward,
    limits::{Limited, Limits},
    rest,
    upstream::Upstream,
    watches::Watches,
};

/// A gateway that holds its ports and serves once [`run`](Self::run).
#[derive(Debug)]
pub struct Service {
    pub(crate) grpc: Bound,
    pub(crate) http: Bound,
    pub(crate) addresses: Ready,
    pub(crate) planner: Upstream,
    pub(crate) http_timeout: Duration,
    pub(crate) origins: Vec<Url>,
    pub(crate) resume: Duration,
    pub(crate) guard: Guard,
    pub(crate) limits: Limits,
    pub(crate) server: serve::Options,
}

/// Why a gateway cannot start or ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong.
    #[error("cannot start")]
    Config(#[from] config::Error),
    /// A port is not to be had.
    #[error(transparent)]
    Listen(#[from] listen::Error),
    /// The planner cannot be dialled.
    #[error("cannot dial the planner")]
    Planner(#[from] client::Error),
    /// The gRPC server failed.
    #[error(transparent)]
    Grpc(#[from] serve::Error),
    /// The certificate or what belongs to it.
    #[error("no TLS can be served")]
    Tls(#[from] tls::Error),
}

impl Service {
    /// Where it serves, real ports included.
    #[must_use]
    pub fn addresses(&self) -> &Ready {
        &self.addresses
    }

    /// Serves until `shutdown`, and then no longer than its drain limit.
    ///
    /// # Errors
    /// If one of the servers fails.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), Error> {
        let upstream = self.planner;
        let tasks = TaskTracker::new();
        let watches = Watches::new(upstream.clone(), self.resume, tasks.clone(), shutdown.token());
        let forward = Forward::new(upstream.clone(), watches.clone(), self.resume, &shutdown);
        let (reaches, reaching) = watch::channel(true);
        let files = FileServiceServer::new(forward.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .accept_compressed(ACCEPTED)
            .send_compressed(ACCEPTED);
        let batches = BatchServiceServer::new(forward.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .accept_compressed(ACCEPTED)
            .send_compressed(ACCEPTED);
        let fleet = FleetServiceServer::new(forward.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let services = Services::new()
            .serving_while(reaching)
            .guarded_by(self.guard.clone())
            .add(Limited::new(files, &self.limits))
            .add(Limited::new(batches, &self.limits))
            .add(Limited::new(fleet, &self.limits))
            .add(Limited::new(AccessServiceServer::new(forward), &self.limits));
        let watching = watch_planners(upstream.planners().clone(), reaches);
        let is_at_home = !self.guard.asks() && self.http.local_addr().ip().to_canonical().is_loopback();
        let pages = rest::Pages::new(&self.origins, is_at_home);
        let gate = rest::Gate { guard: self.guard.clone(), limits: self.limits.clone(), pages };
        let rest = rest::router(upstream, watches, &gate, self.http_timeout, self.resume, shutdown.clone());
        let grpc = serve::serve(self.grpc, services, &self.server, shutdown.clone());
        let http = Box::pin(async {
            rest::serve(self.http, rest, &self.server, shutdown).await;
            Ok(())
        });
        tokio::select! {
            ended = async { tokio::try_join!(Box::pin(grpc), http) } => drop(ended?),
            () = watching => {}
        }
        // Whoever watched is gone, and with them what was watched for them.
        tasks.close();
        tasks.wait().await;
        Ok(())
    }
}

/// Tells whether some planner answers: where none does, clients may find another gateway that reaches one.
async fn watch_planners(planners: Replicas, reaches: watch::Sender<bool>) {
    loop {
        let state = planners.heard().await;
        reaches.send_if_modified(|reaches| {
            std::mem::replace(reaches, state < State::Down) != (state < State::Down)
        });
        planners.changed().await;
    }
}
