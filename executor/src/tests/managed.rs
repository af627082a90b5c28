//! Engines that the executor starts itself: a process of their own beside the scripted answers.

use std::path::{Path, PathBuf};

use caravan_proto::v1::engine::State;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::TempDir;

use super::{
    engine::{Reply, failure},
    planner::said,
    *,
};
use crate::{
    ManagedOptions,
    backoff::Backoff,
    engine::{Class, Failure},
    gate::Need,
    manage::{Launch, Supervisor},
    unit::Unit,
};
use tokio_util::sync::CancellationToken;

/// A program that only lives; each of its lives writes its id into a file.
struct Lives {
    directory: TempDir,
}

impl Lives {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("pid")
    }

    fn manage(&self, options: &mut Options) {
        let script = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 600", self.file().display());
        options.engines[0].managed = Some(ManagedOptions {
            program: ["sh", "-c", &script].map(str::to_owned).into(),
            ..Default::default()
        });
        options.limits.tries = 1;
        options.limits.last_acks_millis = 100;
    }

    /// The life after `last`.
    async fn next(&self, last: Option<Pid>) -> Pid {
        until("the program is started", || read(&self.file()).is_some_and(|pid| Some(pid) != last)).await;
        read(&self.file()).unwrap()
    }
}

fn read(path: &Path) -> Option<Pid> {
    Pid::from_raw(std::fs::read_to_string(path).ok()?.trim().parse().ok()?)
}

fn is_gone(pid: Pid) -> bool {
    test_kill_process(pid).is_err()
}

#[tokio::test]
async fn ten_kills_from_outside_count_nothing_whatever_the_engine_says() {
    let lives = Lives::new();
    // What an Ollama may still say of its runner while it is itself killed, and a broken connection.
    let last_words = [Class::Suspect, Class::Down, Class::Retry].map(|class| Reply::Fail(failure(class)));
    let engine =
        Scripted::held().reply("unlucky", &last_words.iter().cycle().take(10).cloned().collect::<Vec<_>>());
    let (rig, mut peer) = Rig::with(1, engine, |options| lives.manage(options)).await;
    peer.wait_credits(1).await;
    peer.lease(lease("a", &["unlucky", "after"])).await;
    let mut last = None;
    for kills in 0..10 {
        let pid = lives.next(last).await;
        until("it is in flight", || rig.engine.asked().len() == kills + 1).await;
        kill_process(pid, Signal::KILL).unwrap();
        rig.engine.permits.add_permits(1);
        last = Some(pid);
    }
    rig.engine.permits.add_permits(2);
    peer.wait_results(2).await;
    let all: Vec<_> = peer.results.iter().map(said).collect();
    assert_eq!(all, ["UNLUCKY", "AFTER"]);
    assert_eq!(rig.engine.asked().len(), 12);
}

#[tokio::test]
async fn a_runner_that_is_killed_while_it_loads_makes_no_model_unusable() {
    let killed = Failure {
        message: "llama-server process has terminated: signal: killed".into(),
        ..failure(Class::Model)
    };
    let lives = Lives::new();
    let engine = Scripted::default().reply("one", &vec![Reply::Fail(killed); 5]);
    let (_rig, mut peer) = Rig::with(1, engine, |options| lives.manage(options)).await;
    peer.wait_credits(1).await;
    peer.lease(lease("a", &["one"])).await;
    peer.wait_results(1).await;
    assert_eq!(said(&peer.results[0]), "ONE");
}

#[tokio::test]
async fn a_request_that_the_engine_crashes_of_is_quarantined() {
    let lives = Lives::new();
    let engine = Scripted::held().reply("poison", &vec![Reply::Fail(failure(Class::Down)); 9]);
    let (rig, mut peer) = Rig::with(1, engine, |options| lives.manage(options)).await;
    peer.wait_credits(1).await;
    peer.lease(lease("a", &["poison", "after"])).await;
    let mut last = None;
    // Once among others, as far as the lane knows, then twice alone.
    for crashes in 0..3 {
        let pid = lives.next(last).await;
        until("it is in flight", || rig.engine.asked().len() == crashes + 1).await;
        kill_process(pid, Signal::SEGV).unwrap();
        rig.engine.permits.add_permits(1);
        last = Some(pid);
    }
    lives.next(last).await;
    rig.engine.permits.add_permits(1);
    peer.wait_results(2).await;
    let all: Vec<_> = peer.results.iter().map(said).collect();
    assert_eq!(all, ["request_kills_engine", "AFTER"]);
}

/// A supervisor alone with its unit.
struct Supervised {
    unit: Arc<Unit>,
    stop: CancellationToken,
    running: JoinSet<()>,
}

impl Supervised {
    async fn start(lives: &Lives, engine: Scripted) -> Self {
        let mut options =
            Options { engines: vec![toml::from_str("kind = 'ollama'").unwrap()], ..Options::default() };
        lives.manage(&mut options);
        options.engines[0].url = "http://127.0.0.1:1".parse().ok();
        let limits = Limits { first_pause_millis: 1, longest_pause_millis: 20, ..Limits::default() };
        let unit = Arc::new(Unit::new(0, Arc::new(engine), &options.engines[0], &limits, options.liveness));
        let ledger = Arc::new(ledger());
        let (stop, mut running) = (CancellationToken::new(), JoinSet::new());
        running.spawn(Supervisor::new(&unit, &ledger, &limits).unwrap().run(stop.clone()));
        let watched = Arc::clone(&unit);
        running.spawn(async move {
            let pause = Duration::from_millis(1);
            watched.watch(&ledger, PATIENCE, Backoff::new(pause, pause)).await;
        });
        unit.health.up().await;
        Self { unit, stop, running }
    }

    async fn stop(mut self) {
        self.stop.cancel();
        let ended = timeout(PATIENCE, self.running.join_next()).await.expect("the supervisor ends");
        ended.expect("it ran").expect("no panic");
    }
}

#[tokio::test]
async fn a_demand_waits_for_what_is_in_flight_and_one_for_at_once_does_not() {
    let lives = Lives::new();
    let rig = Supervised::start(&lives, Scripted::default()).await;
    let first = lives.next(None).await;
    let need = Need { model: "m".into(), context: 0, batch: 0, embedding: false };
    let pass = rig.unit.gate.enter(need).await.unwrap();
    let managed = rig.unit.managed.clone().unwrap();

    let flight = rig.unit.gate.shared(&pass).await.unwrap();
    let smaller = Launch { slots: 2, ..managed.launch() };
    managed.restart(smaller.clone(), "a test wants less");
    assert!(
        timeout(Duration::from_millis(50), lives.next(Some(first))).await.is_err(),
        "a request is in flight"
    );
    drop(flight);
    let second = lives.next(Some(first)).await;
    assert!(is_gone(first));
    assert_eq!(managed.launch(), smaller);
    until("it is told why", || managed.note().is_some_and(|note| note.contains("a test wants less"))).await;

    rig.unit.health.up().await;
    let flight = rig.unit.gate.shared(&pass).await.unwrap();
    managed.restart_at_once("it hangs");
    lives.next(Some(second)).await;
    assert!(is_gone(second));
    drop(flight);
    drop(pass);
    rig.stop().await;
}

#[tokio::test]
async fn its_end_is_told_and_so_is_that_it_was_started_anew() {
    let lives = Lives::new();
    let (_rig, mut peer) = Rig::with(1, Scripted::default(), |options| lives.manage(options)).await;
    peer.wait_credits(1).await;
    let pid = lives.next(None).await;
    peer.wait("it is told to be managed", |p| {
        p.heartbeats.last().is_some_and(|beat| beat.engines[0].managed && beat.engines[0].notes.is_empty())
    })
    .await;
    kill_process(pid, Signal::KILL).unwrap();
    peer.wait("it is told to be started anew", |p| {
        p.heartbeats.last().is_some_and(|beat| {
            let engine = &beat.engines[0];
            engine.state() == State::Ready && engine.notes.iter().any(|note| note.contains("SIGKILL"))
        })
    })
    .await;
}

#[tokio::test]
async fn a_drained_executor_leaves_no_process() {
    let lives = Lives::new();
    let (mut rig, mut peer) = Rig::with(1, Scripted::default(), |options| lives.manage(options)).await;
    peer.wait_credits(1).await;
    let pid = lives.next(None).await;
    assert!(!is_gone(pid));
    rig.shutdown.trigger();
    rig.ended().await;
    assert!(is_gone(pid));
}

#[tokio::test]
async fn an_executor_that_is_dropped_kills_its_engine() {
    let lives = Lives::new();
    let (rig, mut peer) = Rig::with(1, Scripted::default(), |options| lives.manage(options)).await;
    peer.wait_credits(1).await;
    let pid = lives.next(None).await;
    drop((rig, peer));
    until("the program is dead", || is_gone(pid)).await;
}

#[tokio::test]
async fn a_program_that_does_not_start_is_told_with_its_last_words() {
    let fails = |options: &mut Options| {
        let program = ["sh", "-c", "echo no such model; exit 3"].map(str::to_owned).into();
        options.engines[0].managed = Some(ManagedOptions { program, ..Default::default() });
    };
    let engine = Scripted::default();
    engine.set_description(Err(failure(Class::Down)));
    let (_rig, mut peer) = Rig::with(1, engine, fails).await;
    peer.wait("it is told why", |p| {
        p.heartbeats.last().is_some_and(|beat| {
            let engine = &beat.engines[0];
            engine.state() == State::Down
                && engine.message.contains("no such model")
                && engine.message.contains("exit status: 3")
        })
    })
    .await;
}
