//! Simulated engines in processes of their own, for what only a process shows: memory, and deaths.
//!
//! The program is this test binary: it serves where it is told to be an engine.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use caravan_simulated_engine::{Options as Sim, SimulatedEngine};
use clap::Parser as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{super::PATIENCE, naive::Client};
use crate::processes;

/// How the test below is called, which is the program.
const PROGRAM: [&str; 4] = ["tests::pains::process::serves", "--exact", "--ignored", "--nocapture"];
/// What the engine is like: arguments of the simulated engine. Only with these does it serve.
const LIKE: &str = "SIMULATED_ENGINE_LIKE";
/// The file that it writes its URL and its process id to.
const READY: &str = "SIMULATED_ENGINE_READY";

/// Where a process says that it is there.
pub(super) struct Home {
    directory: TempDir,
}

/// An engine of its own, killed when it is dropped if it was started here.
pub(super) struct Process {
    pub(super) pid: u32,
    url: String,
    started: Option<(Child, Home)>,
}

/// No test: the program. Without being told what to be like it does nothing.
#[test]
#[ignore = "the program that other tests start"]
fn serves() {
    let Ok(like) = std::env::var(LIKE) else { return };
    let listen = std::env::var("OLLAMA_HOST").ok().and_then(|host| host.parse::<SocketAddr>().ok());
    let words = ["simulated-engine"].into_iter().chain(like.split_whitespace());
    let mut options = Sim::parse_from(words);
    options.listen = listen.unwrap_or(options.listen);
    let engine = SimulatedEngine::start(options).unwrap();
    let ready = PathBuf::from(std::env::var(READY).unwrap());
    let partial = ready.with_extension("partial");
    std::fs::write(&partial, json!({"url": engine.url(), "pid": std::process::id()}).to_string()).unwrap();
    std::fs::rename(&partial, &ready).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(engine.stopped());
}

// === impl Home ===

impl Home {
    pub(super) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    /// The table of a managed engine that is `like` these arguments of the simulated engine.
    pub(super) fn managed(&self, like: &str, mut table: Value) -> Value {
        table["program"] = json!([executable(), PROGRAM[0], PROGRAM[1], PROGRAM[2], PROGRAM[3]]);
        table["env"] = json!({LIKE: like, READY: self.ready()});
        table
    }

    /// The process that said last that it is there; waits for the first.
    pub(super) async fn process(&self) -> Process {
        let started = Instant::now();
        loop {
            let text = std::fs::read(self.ready()).unwrap_or_default();
            if let Ok(ready) = serde_json::from_slice::<Value>(&text) {
                let pid = ready["pid"].as_u64().unwrap().try_into().unwrap();
                return Process { pid, url: ready["url"].as_str().unwrap().into(), started: None };
            }
            assert!(started.elapsed() < PATIENCE, "no engine came up");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn ready(&self) -> PathBuf {
        self.directory.path().join("ready.json")
    }
}

// === impl Process ===

impl Process {
    /// One that nobody manages.
    pub(super) async fn spawn(like: &str) -> Self {
        let home = Home::new();
        let mut command = Command::new(executable());
        command.args(PROGRAM).env(LIKE, like).env(READY, home.ready()).env_remove("OLLAMA_HOST");
        let child = command.stdout(Stdio::null()).spawn().unwrap();
        let mut process = home.process().await;
        process.started = Some((child, home));
        process
    }

    pub(super) fn client(&self) -> Client {
        Client::at(&self.url)
    }

    /// Bytes of host memory that it takes.
    pub(super) fn resident(&self) -> u64 {
        processes::resident(&[self.pid]).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some((child, _)) = &mut self.started {
            // It may be gone already.
            let _killed = child.kill();
            let _ended = child.wait();
        }
    }
}

fn executable() -> PathBuf {
    std::env::current_exe().unwrap()
}
