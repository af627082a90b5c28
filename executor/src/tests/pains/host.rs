//! An executor with its real drivers, gates and lanes, on simulated engines.

use caravan_proto::v1::{ChunkPayload, Lease, PayloadRequest, RequestResult, request_result::Outcome};
use caravan_service::Shutdown;
use caravan_simulated_engine::{Options as Sim, Running, SimulatedEngine};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::super::{PATIENCE, Peer, Planner};
use crate::{EngineOptions, Error, Limits, Liveness, Options};

/// Simulated engines and the executor that drives them; all of it ends when this is dropped.
pub(super) struct Host {
    pub(super) engines: Vec<Running>,
    pub(super) planner: Planner,
    _running: JoinSet<Result<(), Error>>,
}

/// A chunk that is leased to one lane.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    pub(super) model: &'static str,
    pub(super) endpoint: &'static str,
    pub(super) engine: &'static str,
    pub(super) lane: i32,
    pub(super) context: i64,
    pub(super) batch_tokens: i64,
    /// Of every request.
    pub(super) shared: Value,
    pub(super) bodies: Vec<Value>,
    pub(super) prompt_tokens: i64,
}

// === impl Host ===

impl Host {
    /// One engine and as many lanes as it has slots.
    pub(super) async fn new(sim: Sim) -> (Self, Peer) {
        Self::with(vec![sim], |_| {}).await
    }

    pub(super) async fn with(sims: Vec<Sim>, adapt: impl FnOnce(&mut Options)) -> (Self, Peer) {
        let slots: Vec<usize> = sims.iter().map(|sim| sim.slots).collect();
        let engines: Vec<Running> =
            sims.into_iter().map(|sim| SimulatedEngine::start(sim).unwrap()).collect();
        let entries = engines.iter().zip(&slots).map(|(engine, slots)| {
            let entry = json!({"kind": "ollama", "url": engine.url(), "slots": slots});
            serde_json::from_value(entry).unwrap()
        });
        Self::drive(entries.collect(), engines, adapt).await
    }

    /// An engine in a process of its own, which the executor starts: `managed` is its entry's table.
    pub(super) async fn managing(
        slots: usize,
        managed: Value,
        adapt: impl FnOnce(&mut Options),
    ) -> (Self, Peer) {
        let entry = json!({"kind": "ollama", "slots": slots, "managed": managed});
        Self::drive(vec![serde_json::from_value(entry).unwrap()], Vec::new(), adapt).await
    }

    async fn drive(
        entries: Vec<EngineOptions>,
        engines: Vec<Running>,
        adapt: impl FnOnce(&mut Options),
    ) -> (Self, Peer) {
        let mut planner = Planner::start().await;
        let mut options = Options {
            planner: vec![planner.url.clone()],
            host: Some("test-host".into()),
            limits: Limits {
                first_pause_millis: 1,
                longest_pause_millis: 20,
                // The planner of these tests acks nothing.
                ack_millis: 600_000,
                ..Limits::default()
            },
            engines: entries,
            ..Options::default()
        };
        adapt(&mut options);
        let service = options.build().await.unwrap();
        let mut running = JoinSet::new();
        running.spawn(service.run(Shutdown::new(PATIENCE)));
        let peer = planner.welcome().await;
        (Self { engines, planner, _running: running }, peer)
    }

    /// Ends the executor at once, as a kill does; the only engine stays.
    pub(super) fn end(mut self) -> Running {
        self.engines.remove(0)
    }

    /// The only engine.
    pub(super) fn engine(&self) -> &Running {
        &self.engines[0]
    }
}

// === impl Chunk ===

impl Default for Chunk {
    fn default() -> Self {
        Self {
            model: "simulated",
            endpoint: "/v1/chat/completions",
            engine: "ollama-0",
            lane: 0,
            context: 4_096,
            batch_tokens: 0,
            shared: json!({"max_tokens": 8}),
            bodies: Vec::new(),
            prompt_tokens: 0,
        }
    }
}

impl Chunk {
    /// Chats that ask `questions` after the same `system` prompt.
    pub(super) fn chats(system: &str, questions: &[String]) -> Self {
        let body = |question: &String| json!({"messages": [{"role": "user", "content": question}]});
        let messages = json!([{"role": "system", "content": system}]);
        Self {
            shared: json!({"messages": messages, "max_tokens": 8}),
            bodies: questions.iter().map(body).collect(),
            ..Self::default()
        }
    }

    /// One chat with these messages.
    pub(super) fn chat(messages: Value) -> Self {
        Self { bodies: vec![json!({"messages": messages})], ..Self::default() }
    }

    /// `count` chats, each with a question of its own that begins with `tag`.
    pub(super) fn many(tag: &str, count: usize) -> Self {
        let questions: Vec<String> = (0..count).map(|n| format!("{tag} question {n}")).collect();
        Self::chats("Be brief.", &questions)
    }

    pub(super) fn lane(self, lane: i32) -> Self {
        Self { lane, ..self }
    }

    /// The lease of it, called `id`.
    pub(super) fn lease(&self, id: &str) -> Lease {
        let requests = self.bodies.iter().zip(1..).map(|(body, line)| PayloadRequest {
            line,
            custom_id: format!("{id}-{line}"),
            body: body.to_string(),
            prompt_tokens: self.prompt_tokens,
            ..Default::default()
        });
        let mut shared = self.shared.clone();
        shared["model"] = json!(self.model);
        let payload = ChunkPayload {
            model: self.model.into(),
            endpoint: self.endpoint.into(),
            context: self.context,
            batch_tokens: self.batch_tokens,
            shared: shared.to_string(),
            requests: requests.collect(),
            ..Default::default()
        };
        Lease {
            lease_id: id.into(),
            epoch: 1,
            batch: "batches/b".into(),
            chunk: id.bytes().map(i32::from).sum(),
            engine: self.engine.into(),
            lane: self.lane,
            range_end: i32::try_from(self.bodies.len()).unwrap(),
            payload: Some(payload),
            ..Default::default()
        }
    }
}

/// Leases `chunks`, each called by its place, and waits for the results of all of them.
pub(super) async fn run(peer: &mut Peer, chunks: &[Chunk]) {
    let lanes = chunks.iter().map(|chunk| chunk.lane).max().unwrap_or(0) + 1;
    peer.wait_credits(usize::try_from(lanes).unwrap()).await;
    for (place, chunk) in chunks.iter().enumerate() {
        peer.lease(chunk.lease(&format!("{}{place}", chunk.model))).await;
    }
    let results = peer.results.len() + chunks.iter().map(|chunk| chunk.bodies.len()).sum::<usize>();
    peer.wait_results(results).await;
}

/// The answer's text, or the code of the error.
pub(super) fn outcome(result: &RequestResult) -> Result<String, String> {
    match result.outcome.as_ref().unwrap() {
        Outcome::Response(response) if response.status_code == 200 => {
            let body: Value = serde_json::from_str(&response.body).unwrap();
            let text = body["choices"][0]["message"]["content"].as_str();
            Ok(text.map_or_else(|| response.body.clone(), str::to_owned))
        }
        Outcome::Response(response) => {
            let body: Value = serde_json::from_str(&response.body).unwrap();
            let code = body["error"]["code"].as_str().map(str::to_owned);
            Err(code.unwrap_or_else(|| format!("{} {body}", response.status_code)))
        }
        Outcome::Error(error) => Err(error.code.clone()),
    }
}

/// Bounds that a simulated engine is held to: slots that are missing show after some milliseconds.
pub(super) fn attentive(options: &mut Options) {
    options.liveness = Liveness { floor_seconds: 1, mend_seconds: 0, wait_millis: 5, ..Liveness::default() };
}

/// The same, and no request is sent to an idle engine before it has answered one of the executor's own.
pub(super) fn doubtful(options: &mut Options) {
    attentive(options);
    options.liveness.probe_seconds = 1;
    options.liveness.idle_seconds = 0;
}

/// What the first engine has to say of how it runs.
pub(super) async fn notes(peer: &mut Peer) -> String {
    peer.fresh_heartbeat().await.engines[0].notes.join("; ")
}

/// How many of all results so far are answers.
pub(super) fn answered(peer: &Peer) -> usize {
    peer.results.iter().filter(|result| outcome(result).is_ok()).count()
}
