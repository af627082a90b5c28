//! A planner that does what a test says, over a real socket.

use std::{
    collections::{BTreeSet, VecDeque},
    pin::Pin,
    sync::{Arc, Mutex},
};

use caravan_proto::v1::{
    Ack, ChunkAck, ConnectRequest, ConnectResponse, Credit, FetchModelRequest, FetchModelResponse, HandBack,
    HeartbeatReply, Hello, Lease, ModelProgress, Profile, RequestResult, Revoke, Vocabulary, Welcome,
    WorkHeartbeat,
    connect_request::Message,
    connect_response,
    request_result::Outcome,
    work_service_server::{WorkService, WorkServiceServer},
};
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet, time::timeout};
use tokio_stream::{
    Stream, StreamExt as _,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tonic::{Request, Response, Status, Streaming, transport::Server};
use url::Url;

use super::PATIENCE;

/// Takes streams; a test talks on them.
pub(super) struct Planner {
    pub(super) url: Url,
    pub(super) shelf: Arc<Mutex<Shelf>>,
    peers: mpsc::Receiver<Peer>,
    _server: JoinSet<()>,
}

/// One stream, seen from the planner; dropping it breaks the stream.
pub(super) struct Peer {
    outgoing: mpsc::Sender<Result<ConnectResponse, Status>>,
    incoming: Streaming<ConnectRequest>,
    pub(super) hello: Option<Hello>,
    pub(super) credits: Vec<Credit>,
    pub(super) results: Vec<RequestResult>,
    pub(super) heartbeats: Vec<WorkHeartbeat>,
    pub(super) hand_backs: Vec<HandBack>,
    pub(super) vocabularies: Vec<Vocabulary>,
    pub(super) profiles: Vec<Profile>,
    pub(super) model_progress: Vec<ModelProgress>,
    pub(super) draining: bool,
    pub(super) ended: bool,
    /// What came, in order.
    pub(super) kinds: Vec<&'static str>,
}

/// A model's file that it has, and how it is fetched.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// Its bytes; none if there is no file.
    pub(super) bytes: Option<Vec<u8>>,
    /// Streams that break off after so many bytes; those behind them do not.
    pub(super) breaks: VecDeque<usize>,
    /// Offset of each call.
    pub(super) offsets: Vec<i64>,
}

struct Serving {
    peers: mpsc::Sender<Peer>,
    shelf: Arc<Mutex<Shelf>>,
}

#[tonic::async_trait]
impl WorkService for Serving {
    type ConnectStream = Pin<Box<dyn Stream<Item = Result<ConnectResponse, Status>> + Send>>;

    async fn connect(
        &self,
        request: Request<Streaming<ConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let (outgoing, messages) = mpsc::channel(64);
        let peer = Peer {
            outgoing,
            incoming: request.into_inner(),
            hello: None,
            credits: Vec::new(),
            results: Vec::new(),
            heartbeats: Vec::new(),
            hand_backs: Vec::new(),
            vocabularies: Vec::new(),
            profiles: Vec::new(),
            model_progress: Vec::new(),
            draining: false,
            ended: false,
            kinds: Vec::new(),
        };
        self.peers.send(peer).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }

    type FetchModelStream = Pin<Box<dyn Stream<Item = Result<FetchModelResponse, Status>> + Send>>;

    async fn fetch_model(
        &self,
        request: Request<FetchModelRequest>,
    ) -> Result<Response<Self::FetchModelStream>, Status> {
        let mut shelf = self.shelf.lock().unwrap();
        let offset = request.into_inner().offset;
        shelf.offsets.push(offset);
        let bytes = shelf.bytes.clone().ok_or_else(|| Status::not_found("no file"))?;
        let rest = bytes[usize::try_from(offset).unwrap()..].to_vec();
        let sent = shelf.breaks.pop_front().map(|after| after.min(rest.len()));
        let pieces = rest[..sent.unwrap_or(rest.len())].chunks(1_000);
        let mut messages: Vec<_> =
            pieces.map(|piece| Ok(FetchModelResponse { data: piece.to_vec().into() })).collect();
        messages.extend(sent.map(|_| Err(Status::unavailable("broken off"))));
        Ok(Response::new(Box::pin(tokio_stream::iter(messages))))
    }
}

impl Planner {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let (sender, peers) = mpsc::channel(4);
        let shelf = Arc::<Mutex<Shelf>>::default();
        let serving = Serving { peers: sender, shelf: Arc::clone(&shelf) };
        let mut server = JoinSet::new();
        server.spawn(async move {
            let service =
                WorkServiceServer::new(serving).max_decoding_message_size(caravan_proto::MAX_MESSAGE_BYTES);
            let router = Server::builder().add_service(service);
            router.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
        });
        Self { url, shelf, peers, _server: server }
    }

    /// The next stream, greeted; leases live for longer than any test.
    pub(super) async fn welcome(&mut self) -> Peer {
        self.welcome_for(600).await
    }

    /// The next stream, greeted; leases live for so many seconds.
    pub(super) async fn welcome_for(&mut self, ttl: i64) -> Peer {
        let mut peer = timeout(PATIENCE, self.peers.recv()).await.expect("the executor dials").unwrap();
        peer.wait("hello", |peer| peer.hello.is_some()).await;
        peer.greet(ttl).await;
        peer
    }
}

impl Peer {
    async fn greet(&self, ttl: i64) {
        let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
        self.send(connect_response::Message::Welcome(Welcome {
            lease_ttl: seconds(ttl),
            heartbeat_interval: Some(prost_types::Duration { seconds: 0, nanos: 20_000_000 }),
        }))
        .await;
    }

    pub(super) async fn send(&self, message: connect_response::Message) {
        self.outgoing.send(Ok(ConnectResponse { message: Some(message) })).await.unwrap();
    }

    pub(super) async fn lease(&self, lease: Lease) {
        self.send(connect_response::Message::Lease(lease)).await;
    }

    pub(super) async fn revoke(&self, lease: &str, unless_started: bool) {
        self.revoke_as(Revoke { lease_id: lease.into(), unless_started, ..Revoke::default() }).await;
    }

    pub(super) async fn revoke_as(&self, revoke: Revoke) {
        let revoke = Revoke { reason: "test".into(), ..revoke };
        self.send(connect_response::Message::Revoke(revoke)).await;
    }

    /// Acks one result.
    pub(super) async fn ack(&self, result: &RequestResult) {
        let chunk =
            ChunkAck { batch: result.batch.clone(), chunk: result.chunk, indexes: vec![result.index] };
        self.send(connect_response::Message::Ack(Ack { chunks: vec![chunk] })).await;
    }

    /// Takes messages until `holds`.
    pub(super) async fn wait(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let look = async {
            while !holds(self) {
                assert!(!self.ended, "the stream ended before {what}");
                self.take().await;
            }
        };
        let found = timeout(PATIENCE, look).await.is_ok();
        assert!(found, "waited in vain for {what}; came: {:?}", self.kinds);
    }

    async fn take(&mut self) {
        let Some(Ok(request)) = self.incoming.next().await else {
            self.ended = true;
            return;
        };
        let kind = match request.message.expect("a message") {
            Message::Hello(hello) => {
                self.hello = Some(hello);
                "hello"
            }
            Message::Credits(credits) => {
                self.credits.extend(credits.credits);
                "credits"
            }
            Message::Heartbeat(heartbeat) => {
                self.heartbeats.push(heartbeat);
                let reply = connect_response::Message::HeartbeatReply(HeartbeatReply::default());
                // The stream may be ending.
                let _sent = self.outgoing.send(Ok(ConnectResponse { message: Some(reply) })).await;
                "heartbeat"
            }
            Message::Results(results) => {
                self.results.extend(results.results);
                "results"
            }
            Message::HandBack(hand_back) => {
                self.hand_backs.push(hand_back);
                "hand_back"
            }
            Message::Draining(_) => {
                self.draining = true;
                "draining"
            }
            Message::Profile(profile) => {
                self.profiles.push(profile);
                "profile"
            }
            Message::ModelProgress(progress) => {
                self.model_progress.push(progress);
                "model_progress"
            }
            Message::Vocabulary(vocabulary) => {
                self.vocabularies.push(vocabulary);
                "vocabulary"
            }
        };
        self.kinds.push(kind);
    }

    pub(super) async fn wait_credits(&mut self, credits: usize) {
        self.wait(&format!("{credits} credits"), |peer| peer.credits.len() >= credits).await;
    }

    pub(super) async fn wait_results(&mut self, results: usize) {
        self.wait(&format!("{results} results"), |peer| peer.results.len() >= results).await;
    }

    /// The next heartbeat after those that came.
    pub(super) async fn fresh_heartbeat(&mut self) -> WorkHeartbeat {
        let before = self.heartbeats.len();
        // One may have been under way already.
        self.wait("a heartbeat", |peer| peer.heartbeats.len() >= before + 2).await;
        self.heartbeats.last().unwrap().clone()
    }

    /// Leases of the last heartbeat.
    pub(super) async fn held(&mut self) -> BTreeSet<String> {
        self.fresh_heartbeat().await.leases.into_iter().map(|lease| lease.lease_id).collect()
    }

    /// Leases handed back so far, each with its reason.
    pub(super) fn handed_back(&self) -> Vec<(&str, &str)> {
        let of = |back: &'_ HandBack| back.leases.len();
        assert!(self.hand_backs.iter().all(|back| of(back) > 0));
        let leases =
            self.hand_backs.iter().flat_map(|back| back.leases.iter().map(|l| (&*l.lease_id, &*back.reason)));
        leases.collect()
    }
}

/// The text of an answer, or the code of an error.
pub(super) fn said(result: &RequestResult) -> String {
    match result.outcome.as_ref().expect("an outcome") {
        Outcome::Response(response) => {
            let body: serde_json::Value = serde_json::from_str(&response.body).unwrap();
            body["text"]
                .as_str()
                .map_or_else(|| format!("{} {body}", response.status_code), ToOwned::to_owned)
        }
        Outcome::Error(error) => error.code.clone(),
    }
}
