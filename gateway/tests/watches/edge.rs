use std::time::Duration;

use caravan_gateway::Options;
use caravan_proto::{
    name::BatchId,
    v1::{
        Batch, BatchDelta, ChunkCounts, RequestCounts, WatchBatchRequest, WatchBatchResponse, batch::State,
        batch_service_client::BatchServiceClient, watch_batch_response::Event,
    },
};
use caravan_service::{Shutdown, client};
use prost_types::FieldMask;
use tokio::{task::JoinSet, time::timeout};
use tonic::{Status, Streaming, transport::Channel};
use url::Url;

use crate::planner::Planner;

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A gateway in front of a planner that has one batch, at revision 3.
pub(crate) struct Edge {
    pub(crate) planner: Planner,
    pub(crate) client: BatchServiceClient<Channel>,
    pub(crate) gateway: Url,
    /// URL of its HTTP server.
    pub(crate) http: Url,
    pub(crate) shutdown: Shutdown,
    pub(crate) tasks: JoinSet<()>,
}

// === impl Edge ===

impl Edge {
    pub(crate) async fn start() -> Self {
        let batch = Batch {
            name: BatchId::now().name(),
            state: State::Running.into(),
            requests: Some(RequestCounts { total: 10, succeeded: 4, failed: 1 }),
            chunks: Some(ChunkCounts { total: 3, done: 1, running: 1 }),
            revision: 3,
            ..Batch::default()
        };
        let planner = Planner::new(batch);
        let mut tasks = JoinSet::new();
        let (url, _) = planner.serve(&mut tasks).await;
        let (gateway, http, shutdown) = gateway(&url, &mut tasks).await;
        Self { planner, client: dial(&gateway), gateway, http, shutdown, tasks }
    }

    pub(crate) fn request(&self, resume_token: &str) -> WatchBatchRequest {
        WatchBatchRequest { name: self.planner.batch.name.clone(), resume_token: resume_token.to_owned() }
    }

    pub(crate) async fn watch(&self, token: &str) -> Result<Streaming<WatchBatchResponse>, Status> {
        self.client.clone().watch_batch(self.request(token)).await.map(tonic::Response::into_inner)
    }

    /// Waits until so many watches were begun at the planner: one to let each subscriber in, and the shared one.
    pub(crate) async fn begun(&self, count: usize) {
        let mut tokens = self.planner.tokens.subscribe();
        let begun = timeout(PATIENCE, tokens.wait_for(|tokens| tokens.len() >= count)).await;
        assert_eq!(begun.expect("in time").expect("a planner").len(), count);
    }

    /// Waits until no watch is open at the planner.
    pub(crate) async fn left(&self) {
        let left = async {
            while self.planner.says.receiver_count() > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, left).await.expect("the watch ends");
    }

    /// The planner says that so many requests succeeded, at this revision.
    pub(crate) fn says(&self, revision: i64, succeeded: i64, last: bool) {
        self.says_at_length(revision, succeeded, last, String::new());
    }

    pub(crate) fn says_at_length(&self, revision: i64, succeeded: i64, last: bool, state_message: String) {
        let requests = Some(RequestCounts { total: 10, succeeded, failed: 1 });
        let batch = Batch { requests, revision, state_message, ..Batch::default() };
        let paths = ["requests", "revision", "state_message"].map(str::to_owned).to_vec();
        let delta = BatchDelta { batch: Some(batch), update_mask: Some(FieldMask { paths }) };
        let said = WatchBatchResponse {
            resume_token: self.planner.token(revision),
            event: Some(Event::Delta(delta)),
            r#final: last,
        };
        self.planner.says.send(Ok(said)).expect("somebody watches");
    }
}

/// A gateway: URLs of its servers, and the handle that stops it.
pub(crate) async fn gateway(planner: &str, tasks: &mut JoinSet<()>) -> (Url, Url, Shutdown) {
    let options = Options {
        listen: "127.0.0.1:0".into(),
        http_listen: "127.0.0.1:0".into(),
        planner: vec![planner.parse().expect("a URL")],
        cors_origins: vec!["https://dashboard.example".parse().expect("a URL")],
        ..Options::default()
    };
    let service = options.build().await.expect("a gateway");
    let url = |url: &Option<String>| url.as_ref().expect("it serves").parse().expect("a URL");
    let (grpc, http) = (url(&service.addresses().grpc), url(&service.addresses().http));
    let shutdown = Shutdown::new(PATIENCE);
    let handle = shutdown.clone();
    tasks.spawn(async move { service.run(handle).await.expect("the gateway serves") });
    (grpc, http, shutdown)
}

/// A connection of its own.
pub(crate) fn dial(gateway: &Url) -> BatchServiceClient<Channel> {
    let channel = client::channel(std::slice::from_ref(gateway), &client::Options::default());
    BatchServiceClient::new(channel.expect("a channel"))
}
