//! The executor as a whole, between a scripted engine and a scripted planner.

mod chunks;
mod conversations;
mod engine;
mod failures;
mod gate;
mod leases;
mod liveness;
mod managed;
mod models;
mod pains;
mod planner;
mod profiles;
mod reload;
mod slots;
mod streams;
mod vocabularies;
mod vram;

use std::{sync::Arc, time::Duration};

use caravan_proto::v1::{ChunkPayload, Lease, PayloadRequest};
use caravan_request::EngineKind;
use caravan_service::Shutdown;
use tokio::{task::JoinSet, time::timeout};

use crate::{
    EngineOptions, Error, Limits, Options, Service, Slots,
    calibrate::shelf::Shelf,
    engine::Engine,
    gpu::{Nvml, Probe, Sample},
    ledger::{Bounds, Ledger},
};
use engine::Scripted;
use planner::{Peer, Planner};

/// No wait of a test takes longer than this.
const PATIENCE: Duration = Duration::from_secs(20);

/// An executor with scripted engines, connected to a scripted planner.
struct Rig {
    engine: Arc<Scripted>,
    planner: Planner,
    shutdown: Shutdown,
    running: JoinSet<Result<(), Error>>,
}

/// GPUs that cannot be read.
#[derive(Debug)]
struct NoGpu;

impl Probe for NoGpu {
    fn sample(&mut self) -> Sample {
        Err("libnvidia-ml.so.1 not found".into())
    }
}

impl Rig {
    /// With one engine of so many slots.
    async fn new(slots: u32) -> (Self, Peer) {
        Self::with(slots, Scripted::default(), |_| {}).await
    }

    async fn with(slots: u32, engine: Scripted, adapt: impl FnOnce(&mut Options)) -> (Self, Peer) {
        let mut rig = Self::start(slots, engine, adapt).await;
        let peer = rig.planner.welcome().await;
        (rig, peer)
    }

    /// The same, before a planner says welcome.
    async fn start(slots: u32, engine: Scripted, adapt: impl FnOnce(&mut Options)) -> Self {
        let (planner, engine) = (Planner::start().await, Arc::new(engine));
        let slots = if slots == 0 { Slots::Auto } else { slots.to_string().parse().unwrap() };
        let mut options = Options {
            planner: vec![planner.url.clone()],
            host: Some("test-host".into()),
            limits: Limits {
                first_pause_millis: 1,
                longest_pause_millis: 20,
                gpu_millis: 10,
                last_acks_millis: 10_000,
                ..Limits::default()
            },
            engines: vec![entry("http://127.0.0.1:1", slots)],
            ..Options::default()
        };
        adapt(&mut options);
        let shelf = Shelf::open(options.profiles_dir.clone()).unwrap();
        let shutdown = Shutdown::new(Duration::from_secs(60));
        let probe: Box<dyn Probe> = if options.nvml_library == Options::default().nvml_library {
            Box::new(NoGpu)
        } else {
            Box::new(Nvml::new(&options.nvml_library))
        };
        let service =
            Service::new(&options, vec![Arc::clone(&engine) as Arc<dyn Engine>], probe, shelf).unwrap();
        let mut running = JoinSet::new();
        running.spawn(service.run(shutdown.clone()));
        Self { engine, planner, shutdown, running }
    }

    /// Waits for the executor to end by itself.
    async fn ended(&mut self) {
        let ended = timeout(PATIENCE, self.running.join_next()).await.expect("the executor ends");
        ended.expect("it ran").expect("no panic").expect("a good end");
    }
}

/// Waits until `holds`, looking again and again.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let look = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(timeout(PATIENCE, look).await.is_ok(), "waited in vain until {what}");
}

/// The entry of an Ollama at `url`.
fn entry(url: &str, slots: Slots) -> EngineOptions {
    EngineOptions {
        kind: EngineKind::Ollama,
        url: Some(url.parse().unwrap()),
        slots,
        max_context: None,
        partial_offload: false,
        gpus: Vec::new(),
        tokenizers: Default::default(),
        managed: None,
    }
}

/// The books of a process without a planner.
fn ledger() -> Ledger {
    let bounds = Bounds { results: 1, bytes: 1, ack_within: PATIENCE, message_bytes: 1 };
    Ledger::new(bounds, PATIENCE)
}

/// A chunk whose requests say `texts`, for lane 0 of the first engine.
fn lease(id: &str, texts: &[&str]) -> Lease {
    let requests = texts.iter().zip(1..).map(|(text, line)| PayloadRequest {
        line,
        custom_id: format!("{id}-{text}"),
        body: format!(r#"{{"messages":[{{"role":"user","content":"{text}"}}]}}"#),
        prompt_tokens: 12,
        prompt_tokens_low: 12,
    });
    let payload = ChunkPayload {
        model: "m".into(),
        endpoint: "/v1/chat/completions".into(),
        context: 1_000,
        shared: r#"{"model":"m","messages":[{"role":"system","content":"sys"}]}"#.into(),
        requests: requests.collect(),
        prefix_tokens: 10,
        ..Default::default()
    };
    Lease {
        lease_id: id.into(),
        epoch: 1,
        batch: "batches/b".into(),
        chunk: id.bytes().map(i32::from).sum(),
        group: 3,
        share: 5,
        engine: "ollama-0".into(),
        range_end: i32::try_from(texts.len()).unwrap(),
        payload: Some(payload),
        ..Default::default()
    }
}
