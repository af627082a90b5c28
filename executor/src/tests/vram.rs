//! The executor as a whole with a GPU: a library that answers what the test says, read by the real
//! wrapper.

use std::{net::TcpListener, os::unix::process::parent_id};

use caravan_proto::v1::engine::State;
use caravan_simulated_nvml::{Card, SimulatedNvml};

use super::{
    engine::{Event, Reply},
    planner::said,
    *,
};
use crate::engine::{Loaded, Model};

const GIB: u64 = 1 << 30;
const TOTAL: u64 = 80 * GIB;
const REASON: &str = "vram_over_ceiling";

/// An executor whose engine listens in this process, on a GPU of 80 GiB of which 60 may be filled.
struct Host {
    rig: Rig,
    nvml: SimulatedNvml,
    /// What the engine listens on: so this process is the engine's.
    _engine: TcpListener,
}

impl Host {
    async fn new(engine: Scripted, unfit_seconds: u64) -> (Self, Peer) {
        let (nvml, listener) = (SimulatedNvml::build().unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        nvml.show(&[Card { used: GIB, total: TOTAL, compute: &[] }]).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let (rig, peer) = Rig::with(2, engine, |options| {
            options.engines[0].url = Some(url);
            options.nvml_library = nvml.path().to_owned();
            options.vram_ceiling = "60GiB".parse().unwrap();
            options.limits.refresh_millis = 10;
            options.limits.unfit_seconds = unfit_seconds;
        })
        .await;
        (Self { rig, nvml, _engine: listener }, peer)
    }

    /// The engine takes `own` GiB of VRAM, another process `foreign` GiB.
    fn takes(&self, own: u64, foreign: u64) {
        // Our parent is no process of the engine: only descendants of who listens are.
        let compute = [(std::process::id(), own * GIB), (parent_id(), foreign * GIB)];
        let compute: Vec<_> = compute.into_iter().filter(|(_, bytes)| *bytes > 0).collect();
        self.nvml.show(&[Card { used: (own + foreign) * GIB, total: TOTAL, compute: &compute }]).unwrap();
    }

    /// The engine has `m` loaded with this context; none: nothing.
    fn loaded(&self, context: Option<u64>) {
        let mut description = self.rig.engine.description();
        let loaded = context.map(|context| Loaded { context, size: GIB, size_vram: GIB });
        let model = Model { name: "m".into(), chat: true, loaded, ..Model::default() };
        description.models = vec![model];
        self.rig.engine.set_description(Ok(description));
    }

    fn unloads(&self) -> usize {
        self.rig.engine.events().iter().filter(|event| matches!(event, Event::Unload { .. })).count()
    }
}

/// Why the engine takes no new work, if it takes none.
fn waits(engine: &caravan_proto::v1::Engine) -> Option<&String> {
    engine.notes.iter().find(|note| note.starts_with("it takes no new work"))
}

/// Waits for a heartbeat whose engine is as `holds` says, and gives that engine.
async fn engine_when(
    peer: &mut Peer,
    what: &str,
    holds: impl Fn(&caravan_proto::v1::Engine) -> bool,
) -> caravan_proto::v1::Engine {
    let last = |peer: &Peer| peer.heartbeats.last().and_then(|beat| beat.engines.first()).cloned();
    peer.wait(what, |peer| last(peer).is_some_and(|engine| holds(&engine))).await;
    last(peer).unwrap()
}

#[tokio::test]
async fn what_a_gpu_has_is_told_and_whose_it_is() {
    let (host, mut peer) = Host::new(Scripted::default(), 60).await;
    host.takes(20, 10);
    let engine =
        engine_when(&mut peer, "memory of the engine", |engine| engine.vram_bytes.is_some_and(|b| b > 0));
    let engine = engine.await;
    assert_eq!((engine.vram_bytes, engine.vram_ceiling_bytes), (Some(20 << 30), 60 << 30));
    assert_eq!((engine.gpu.as_str(), engine.driver.as_str()), ("Simulated GPU", "570.86.15"));
    assert_eq!((engine.gpu_indexes.as_slice(), engine.state()), (&[0][..], State::Ready));
    let gpu = peer.heartbeats.last().unwrap().gpus[0].clone();
    let processes: Vec<_> = gpu.processes.iter().map(|p| (p.pid, p.engine.as_str())).collect();
    assert_eq!(processes, [(std::process::id().into(), "ollama-0"), (parent_id().into(), "")]);
    host.nvml.say("init=!9\n").unwrap();
    peer.wait("GPUs are gone", |peer| peer.heartbeats.last().is_some_and(|beat| beat.gpus.is_empty())).await;
    // The library is loaded, and asked: it fails with the first call that is not supported.
    assert!(!peer.heartbeats.last().unwrap().gpu_unavailable.is_empty());
    assert_eq!(peer.heartbeats.last().unwrap().engines[0].vram_bytes, None);
}

#[tokio::test]
async fn an_engine_that_fills_too_much_ends_its_requests_and_is_loaded_with_less() {
    let engine = Scripted::held().reply("one", &[Reply::Text("1")]);
    let (host, mut peer) = Host::new(engine, 60).await;
    peer.wait_credits(2).await;
    peer.lease(lease("a", &["one", "two"])).await;
    until("one is in flight", || host.rig.engine.in_flight() == 1).await;
    host.loaded(Some(1_000));
    host.takes(65, 5);
    let other = Lease { lane: 1, ..lease("b", &["three"]) };
    // It is full before the next chunk comes.
    engine_when(&mut peer, "it takes no work", |engine| waits(engine).is_some()).await;
    peer.lease(other).await;
    peer.wait("the unstarted chunk comes back", |peer| peer.handed_back().contains(&("b", REASON))).await;
    assert_eq!((host.rig.engine.in_flight(), host.unloads()), (1, 0), "what runs is finished");

    host.rig.engine.permits.add_permits(1);
    peer.wait("the rest comes back", |peer| peer.handed_back().contains(&("a", REASON))).await;
    peer.wait_results(1).await;
    assert_eq!(said(&peer.results[0]), "1");
    until("it is unloaded", || host.unloads() > 0).await;
    let credits = peer.credits.len();
    host.loaded(None);
    host.takes(0, 5);
    let limited =
        engine_when(&mut peer, "a smaller context", |engine| engine.models[0].max_context == 256).await;
    assert!(
        limited.message.contains("with a context of 1000 GPU 0 had 70.0 GiB in use"),
        "{}",
        limited.message
    );
    assert_eq!(limited.state(), State::Ready);

    peer.wait_credits(credits + 2).await;
    let mut again = lease("c", &["four"]);
    again.payload.as_mut().unwrap().context = 256;
    peer.lease(again).await;
    host.rig.engine.permits.add_permits(1);
    peer.wait_results(2).await;
    assert_eq!(host.rig.engine.loads(), [("m".to_owned(), 1_000), ("m".to_owned(), 256)]);
}

#[tokio::test]
async fn a_chunk_that_needs_the_context_that_was_too_much_goes_back() {
    let (host, mut peer) = Host::new(Scripted::default(), 60).await;
    host.loaded(Some(2_048));
    host.takes(65, 0);
    until("it is unloaded", || host.unloads() > 0).await;
    host.loaded(None);
    host.takes(0, 0);
    engine_when(&mut peer, "a smaller context", |engine| {
        engine.models[0].max_context == 1_024 && waits(engine).is_none()
    })
    .await;
    peer.wait_credits(2).await;
    let mut large = lease("a", &["one"]);
    large.payload.as_mut().unwrap().context = 2_048;
    peer.lease(large).await;
    peer.wait("it comes back", |peer| peer.handed_back().contains(&("a", "model_unusable"))).await;
    assert_eq!(host.rig.engine.loads(), []);
}

#[tokio::test]
async fn a_foreign_process_is_waited_for_then_the_engine_is_unfit_then_it_works_again() {
    let engine = Scripted::held().reply("one", &[Reply::Text("1")]);
    let (host, mut peer) = Host::new(engine, 1).await;
    peer.wait_credits(2).await;
    peer.lease(lease("a", &["one", "two"])).await;
    until("one is in flight", || host.rig.engine.in_flight() == 1).await;
    host.loaded(Some(1_000));
    host.takes(10, 60);
    let full = engine_when(&mut peer, "it takes no work", |engine| waits(engine).is_some()).await;
    assert!(waits(&full).unwrap().contains("GPU 0 has 70.0 GiB in use"), "{:?}", full.notes);
    peer.lease(Lease { lane: 1, ..lease("b", &["three"]) }).await;
    peer.wait("the unstarted chunk comes back", |peer| peer.handed_back().contains(&("b", REASON))).await;

    // The chunk that was started runs to its end.
    host.rig.engine.permits.add_permits(2);
    peer.wait_results(2).await;
    let unfit = engine_when(&mut peer, "unfit", |engine| engine.state() == State::Unfit).await;
    for words in ["70.0 GiB of 80.0 GiB", "ceiling of 60.0 GiB", "this engine takes 10.0 GiB"] {
        assert!(unfit.message.contains(words), "{}", unfit.message);
    }
    let culprit = format!("process {} takes 60.0 GiB", parent_id());
    assert!(unfit.message.contains(&culprit), "{}", unfit.message);
    assert_eq!((host.unloads(), peer.held().await.contains("b")), (0, false));

    let credits = peer.credits.len();
    host.takes(10, 20);
    engine_when(&mut peer, "ready again", |engine| engine.state() == State::Ready).await;
    peer.wait_credits(credits + 1).await;
    peer.lease(Lease { lane: 1, ..lease("c", &["four"]) }).await;
    host.rig.engine.permits.add_permits(1);
    peer.wait_results(3).await;
    assert_eq!(host.rig.engine.loads().len(), 1, "it was loaded all the time");
}
