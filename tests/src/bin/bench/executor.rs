use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use caravan_proto::{
    MAX_MESSAGE_BYTES,
    name::ExecutorId,
    v1::{
        ConnectRequest, ConnectResponse, Credit, Credits, Engine, EngineResponse, Hello, Lease, LeaseStatus,
        Model, RequestResult, Results, WorkHeartbeat, connect_request::Message as Out,
        connect_response::Message as In, engine, request_result::Outcome,
        work_service_client::WorkServiceClient,
    },
};
use caravan_tests::MODEL;
use tokio::{sync::mpsc, time::sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};

const ENGINE: &str = "pretended";
/// Messages under way to the planner, as an executor has them.
const OUTGOING: usize = 16;

/// An executor that takes no time to run a chunk.
pub(crate) struct Executor {
    outgoing: mpsc::Sender<ConnectRequest>,
    incoming: Streaming<ConnectResponse>,
    heartbeat: Duration,
    /// When its one lane was to ask for the chunk that it waits for.
    asked: Option<Instant>,
    warm: Credit,
    /// By batch and chunk: when the report was sent, the results in it that are not acked, and the lease.
    reported: HashMap<(String, i32), (Instant, usize, LeaseStatus)>,
    beaten: Option<Instant>,
    seen: Seen,
}

/// What executors saw from a moment on.
#[derive(Default)]
pub(crate) struct Seen {
    /// From when a lane wanted to ask until it had its lease.
    pub(crate) leases: Vec<Duration>,
    /// From when a chunk was reported until all of it was acked.
    pub(crate) reports: Vec<Duration>,
    /// From a heartbeat to its reply.
    pub(crate) heartbeats: Vec<Duration>,
}

/// When an executor asks.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    /// The first time.
    pub(crate) first: Instant,
    /// Again after this time each.
    pub(crate) period: Duration,
    /// From then on it counts.
    pub(crate) from: Instant,
    /// Until then.
    pub(crate) until: Instant,
}

// === impl Executor ===

impl Executor {
    /// Says hello.
    pub(crate) async fn connect(channel: Channel) -> anyhow::Result<Self> {
        let (outgoing, messages) = mpsc::channel(OUTGOING);
        let hello =
            Hello { executor: ExecutorId::now().name(), engines: vec![engine()], ..Default::default() };
        outgoing.send(message(Out::Hello(hello))).await?;
        let mut client = WorkServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let mut incoming = client.connect(ReceiverStream::new(messages)).await?.into_inner();
        let first = incoming.message().await?.and_then(|first| first.message);
        let Some(In::Welcome(welcome)) = first else { bail!("no welcome but {first:?}") };
        let heartbeat = welcome.heartbeat_interval.context("no heartbeat interval")?.try_into()?;
        Ok(Self {
            outgoing,
            incoming,
            heartbeat,
            asked: None,
            warm: Credit { engine: ENGINE.into(), ..Default::default() },
            reported: HashMap::new(),
            beaten: None,
            seen: Seen::default(),
        })
    }

    /// Asks for chunks and reports each at once, until the end of the pace.
    pub(crate) async fn run(mut self, pace: Pace) -> anyhow::Result<Seen> {
        let mut due = pace.first;
        let mut beat = pace.first;
        loop {
            tokio::select! {
                () = sleep_until(pace.until.into()) => return Ok(self.seen),
                // One that waits longer than its period asks late, and that counts as waiting too.
                () = sleep_until(due.into()), if self.asked.is_none() => {
                    self.asked = Some(due);
                    due += pace.period;
                    self.send(Out::Credits(Credits { credits: vec![self.warm.clone()] })).await?;
                }
                () = sleep_until(beat.into()) => {
                    beat += self.heartbeat;
                    self.beaten = Some(Instant::now());
                    let leases = self.reported.values().map(|(.., lease)| lease.clone()).collect();
                    let heartbeat = WorkHeartbeat { leases, engines: vec![engine()], ..Default::default() };
                    self.send(Out::Heartbeat(heartbeat)).await?;
                }
                incoming = self.incoming.message() => {
                    let incoming = incoming?.and_then(|incoming| incoming.message);
                    self.take(incoming.context("the planner is gone")?, pace.from).await?;
                }
            }
        }
    }

    async fn take(&mut self, incoming: In, from: Instant) -> anyhow::Result<()> {
        match incoming {
            In::Lease(lease) => {
                let since = self.asked.take().context("a lease that nobody asked for")?;
                note(&mut self.seen.leases, since, from);
                self.report(lease).await
            }
            In::Ack(ack) => {
                for chunk in ack.chunks {
                    let key = (chunk.batch, chunk.chunk);
                    let Some((since, open, _)) = self.reported.get_mut(&key) else { continue };
                    *open -= chunk.indexes.len();
                    if *open == 0 {
                        note(&mut self.seen.reports, *since, from);
                        self.reported.remove(&key);
                    }
                }
                Ok(())
            }
            // What it names as lost is done meanwhile, and its ack under way.
            In::HeartbeatReply(_) => {
                let since = self.beaten.take().context("a reply to no heartbeat")?;
                note(&mut self.seen.heartbeats, since, from);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn report(&mut self, lease: Lease) -> anyhow::Result<()> {
        let requests = lease.payload.context("no payload")?.requests;
        let status = LeaseStatus {
            lease_id: lease.lease_id,
            epoch: lease.epoch,
            started: true,
            batch: lease.batch.clone(),
        };
        let result = |(request, index): (caravan_proto::v1::PayloadRequest, i32)| RequestResult {
            lease_id: status.lease_id.clone(),
            batch: lease.batch.clone(),
            chunk: lease.chunk,
            index,
            line: request.line,
            custom_id: request.custom_id,
            outcome: Some(Outcome::Response(EngineResponse { status_code: 200, body: answer() })),
            ..Default::default()
        };
        let results: Vec<_> = requests.into_iter().zip(0..).map(result).collect();
        let key = (lease.batch.clone(), lease.chunk);
        self.warm = Credit {
            warm_batch: lease.batch,
            warm_group: lease.group,
            warm_share: lease.share,
            ..self.warm.clone()
        };
        self.reported.insert(key, (Instant::now(), results.len(), status));
        self.send(Out::Results(Results { results })).await
    }

    async fn send(&self, out: Out) -> anyhow::Result<()> {
        self.outgoing.send(message(out)).await.context("the planner is gone")
    }
}

fn note(times: &mut Vec<Duration>, since: Instant, from: Instant) {
    if since >= from {
        times.push(since.elapsed());
    }
}

fn message(message: Out) -> ConnectRequest {
    ConnectRequest { message: Some(message) }
}

fn engine() -> Engine {
    let model = Model {
        name: MODEL.into(),
        digest: "sha256:5".into(),
        max_context: 32_768,
        chat: true,
        ..Default::default()
    };
    Engine {
        id: ENGINE.into(),
        kind: engine::Kind::Ollama.into(),
        slots: 1,
        state: engine::State::Ready.into(),
        models: vec![model],
        ..Default::default()
    }
}

/// Half a kilobyte, in an answer's form.
fn answer() -> String {
    let text = "word ".repeat(60);
    format!(
        r#"{{"id":"chatcmpl-1","object":"chat.completion","model":"{MODEL}","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}]}}"#
    )
}
