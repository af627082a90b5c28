//! Models for engines: pulled or imported, and chunks that are held to one digest.

use caravan_proto::v1::{
    EnsureModelErrand, ModelProgress, connect_response::Message, ensure_model_response::State,
};
use caravan_simulated_engine::{Running, SimulatedEngine};
use sha2::{Digest as _, Sha256};

use super::*;
use crate::engine::{Description, Model};

const FILE: &str = "files/file_0190a0000000700080000000000000cd";

/// An executor on a simulated engine, with a planner that has a file.
struct Import {
    engine: Running,
    planner: Planner,
    peer: Peer,
    _running: JoinSet<Result<(), Error>>,
}

impl Import {
    async fn new(options: caravan_simulated_engine::Options, adapt: impl FnOnce(&mut Limits)) -> Self {
        let engine = SimulatedEngine::start(options).unwrap();
        let mut planner = Planner::start().await;
        let mut limits = Limits { first_pause_millis: 1, longest_pause_millis: 5, ..Limits::default() };
        adapt(&mut limits);
        let options = Options {
            planner: vec![planner.url.clone()],
            limits,
            engines: vec![entry(&engine.url(), "1".parse().unwrap())],
            ..Options::default()
        };
        let mut running = JoinSet::new();
        running.spawn(options.build().await.unwrap().run(Shutdown::new(Duration::from_secs(60))));
        let peer = planner.welcome().await;
        Self { engine, planner, peer, _running: running }
    }

    /// Sends an errand and waits for its end.
    async fn errand(&mut self, errand: EnsureModelErrand) -> ModelProgress {
        let id = errand.errand.clone();
        self.peer.send(Message::EnsureModel(errand)).await;
        self.peer.wait("the end of the errand", |peer| ended(peer, &id).is_some()).await;
        ended(&self.peer, &id).unwrap()
    }

    /// An errand for the file that the planner has now.
    fn import(&self, id: &str, model: &str) -> EnsureModelErrand {
        let shelf = self.planner.shelf.lock().unwrap();
        let bytes = shelf.bytes.as_ref().unwrap();
        EnsureModelErrand {
            file: FILE.into(),
            sha256: sha256(bytes),
            size_bytes: i64::try_from(bytes.len()).unwrap(),
            ..pull(id, model)
        }
    }

    fn shelve(&self, bytes: &[u8], breaks: &[usize]) {
        let mut shelf = self.planner.shelf.lock().unwrap();
        shelf.bytes = Some(bytes.to_vec());
        shelf.breaks = breaks.iter().copied().collect();
        shelf.offsets.clear();
    }

    fn offsets(&self) -> Vec<i64> {
        self.planner.shelf.lock().unwrap().offsets.clone()
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn pull(id: &str, model: &str) -> EnsureModelErrand {
    EnsureModelErrand {
        errand: id.into(),
        engine: "ollama-0".into(),
        model: model.into(),
        ..Default::default()
    }
}

fn ended(peer: &Peer, id: &str) -> Option<ModelProgress> {
    let ended = |progress: &&ModelProgress| {
        progress.errand == id && matches!(progress.state(), State::Ready | State::Failed)
    };
    peer.model_progress.iter().find(ended).cloned()
}

/// A small GGUF, as far as anybody here looks.
fn gguf(seed: u8) -> Vec<u8> {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend((0..9_996).map(|at: u32| at.to_le_bytes()[0] ^ seed));
    bytes
}

#[tokio::test]
async fn a_broken_transfer_goes_on_where_it_stood() {
    let mut rig = Import::new(Default::default(), |_| ()).await;
    rig.shelve(&gguf(1), &[3_500, 0, 2_000]);
    let done = rig.errand(rig.import("1", "tiny")).await;
    assert_eq!((done.state(), done.message.as_str()), (State::Ready, ""));
    // The message that was under way when a stream broke may be lost with it.
    let offsets = rig.offsets();
    assert!(offsets.len() == 4 && offsets.is_sorted() && offsets[0] == 0 && offsets[3] > 0, "{offsets:?}");
    rig.peer
        .wait("the model in a heartbeat", |peer| {
            let engines = peer.heartbeats.iter().flat_map(|beat| &beat.engines);
            engines.flat_map(|e| &e.models).any(|m| m.name == "tiny:latest" && m.digest == done.digest)
        })
        .await;
}

#[tokio::test]
async fn a_file_that_is_there_is_not_fetched_again() {
    let mut rig = Import::new(Default::default(), |_| ()).await;
    rig.shelve(&gguf(1), &[]);
    let first = rig.errand(rig.import("1", "tiny")).await;
    let other_name = rig.errand(rig.import("2", "also")).await;
    assert_eq!((other_name.state(), &other_name.digest), (State::Ready, &first.digest));
    assert_eq!(rig.offsets(), [0]);
}

#[tokio::test]
async fn what_was_damaged_on_its_way_does_not_reach_the_engine() {
    let mut rig = Import::new(Default::default(), |_| ()).await;
    rig.shelve(&gguf(1), &[]);
    let errand = rig.import("1", "tiny");
    rig.planner.shelf.lock().unwrap().bytes.as_mut().unwrap()[5_000] ^= 1;
    let failed = rig.errand(errand.clone()).await;
    assert_eq!(failed.state(), State::Failed);
    assert!(failed.message.contains("damaged on its way"), "{}", failed.message);
    rig.shelve(&gguf(1), &[]);
    let again = rig.errand(EnsureModelErrand { errand: "2".into(), ..errand }).await;
    assert_eq!((again.state(), rig.offsets().len()), (State::Ready, 1), "nothing was kept of it");
}

#[tokio::test]
async fn a_file_that_cannot_be_had_is_given_up() {
    let mut rig = Import::new(Default::default(), |limits| limits.fetch_patience_seconds = 0).await;
    rig.shelve(&gguf(1), &[0; 9]);
    let failed = rig.errand(rig.import("1", "tiny")).await;
    assert_eq!(failed.state(), State::Failed);
    assert!(
        failed.message.contains("cannot be fetched: broken off (at byte 0 of 10000)"),
        "{}",
        failed.message
    );
    let errand = rig.import("2", "tiny");
    rig.planner.shelf.lock().unwrap().bytes = None;
    let gone = rig.errand(errand).await;
    assert!(gone.message.contains("no file"), "{}", gone.message);
}

#[tokio::test]
async fn a_name_keeps_its_model_unless_it_is_replaced() {
    let mut rig = Import::new(Default::default(), |_| ()).await;
    rig.shelve(&gguf(1), &[]);
    let first = rig.errand(rig.import("1", "tiny")).await;
    let known =
        EnsureModelErrand { digests: vec!["x".into(), first.digest.clone()], ..rig.import("2", "tiny") };
    assert_eq!(rig.errand(known).await.digest, first.digest, "this very file");

    rig.shelve(&gguf(2), &[]);
    let refused = rig.errand(rig.import("3", "tiny:latest")).await;
    assert_eq!((refused.state(), rig.offsets().len()), (State::Failed, 0));
    assert!(refused.message.contains(&first.digest[..12]), "{}", refused.message);
    assert!(refused.message.contains("--replace"), "{}", refused.message);
    let replaced = rig.errand(EnsureModelErrand { replace: true, ..rig.import("4", "tiny") }).await;
    assert_eq!(replaced.state(), State::Ready);
    assert_ne!(replaced.digest, first.digest);
    assert_eq!(
        rig.errand(pull("5", "tiny")).await.digest,
        replaced.digest,
        "there is one: nothing is pulled"
    );
}

#[tokio::test]
async fn a_pull_tells_how_far_it_is() {
    let options = caravan_simulated_engine::Options {
        registry: vec!["far:1b".into()],
        weights: 1_000_000,
        pull_ms: 500,
        ..Default::default()
    };
    let mut rig = Import::new(options, |_| ()).await;
    let done = rig.errand(pull("1", "far:1b")).await;
    assert_eq!((done.state(), done.digest.len()), (State::Ready, 64));
    let pulling = |progress: &ModelProgress| {
        progress.state() == State::Transferring
            && progress.message.starts_with("pulling ")
            && progress.total_bytes == 1_000_000
    };
    assert!(rig.peer.model_progress.iter().any(pulling), "{:?}", rig.peer.model_progress);
    let none = rig.errand(pull("2", "nowhere")).await;
    assert_eq!(none.state(), State::Failed);
    assert!(none.message.starts_with("the registry does not have it: "), "{}", none.message);
    rig.shelve(b"no model at all", &[]);
    let bad = rig.errand(rig.import("3", "tiny")).await;
    assert!(bad.message.starts_with("the file is no GGUF: "), "{}", bad.message);
    assert!(rig.engine.stats().answers == 0);
}

fn with_digest(digest: &str) -> Description {
    let model = Model { name: "m:latest".into(), digest: digest.into(), chat: true, ..Model::default() };
    Description { models: vec![model], ..Description::default() }
}

#[tokio::test]
async fn a_chunk_goes_back_once_its_model_is_another() {
    let engine = Scripted::held();
    engine.set_description(Ok(with_digest("one")));
    let adapt = |options: &mut Options| options.limits.refresh_millis = 5;
    let (rig, mut peer) = Rig::with(1, engine, adapt).await;
    peer.wait_credits(1).await;
    let held = Lease { model_digest: Some("one".into()), ..lease("held", &["a", "b"]) };
    peer.lease(held).await;
    until("the first request is in flight", || rig.engine.in_flight() == 1).await;
    rig.engine.set_description(Ok(with_digest("two")));
    peer.wait("a heartbeat with the new digest", |peer| {
        let engines = peer.heartbeats.iter().flat_map(|beat| &beat.engines);
        engines.flat_map(|engine| &engine.models).any(|model| model.digest == "two")
    })
    .await;
    rig.engine.permits.add_permits(9);
    peer.wait("the hand-back", |peer| !peer.hand_backs.is_empty()).await;
    assert_eq!(peer.handed_back(), [("held", "model_changed")]);
    assert_eq!(rig.engine.asked(), ["a"]);
    // Without a digest any will do.
    peer.wait_credits(2).await;
    peer.lease(lease("any", &["c"])).await;
    peer.wait_results(2).await;
    assert_eq!(rig.engine.asked(), ["a", "c"]);
}
