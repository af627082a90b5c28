//! Engines that the executor starts itself, and their deaths.

use std::path::PathBuf;

use anyhow::ensure;
use caravan_proto::v1::{Batch, ChunkLimits};
use caravan_tests::{Fleet, Input, Up, binary, is_running, signal, until};
use serde_json::Value;
use tempfile::TempDir;

const SLOTS: usize = 4;
const KILLS: usize = 10;

/// A simulated engine as a managed program. Each of its lives says who it is in a file.
struct Managed {
    directory: TempDir,
    ready: PathBuf,
    /// Its entry in a configuration.
    entry: String,
}

impl Managed {
    fn new() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let ready = directory.path().join("engine.json");
        let program = binary("simulated-engine")?;
        let args = format!(
            "'--listen', '{{host}}:{{port}}', '--slots', '{{slots}}', '--answer-ms', '30', '--load-ms', '20', \
             '--ready-file', '{}'",
            ready.display()
        );
        let entry = format!(
            "{{kind = 'ollama', slots = {SLOTS}, managed = {{program = ['{}'], args = [{args}], log_dir = '{}'}}}}",
            program.display(),
            directory.path().display()
        );
        Ok(Self { directory, ready, entry })
    }

    /// The process of the life after `last`, once its API answers.
    async fn next(&self, last: Option<u32>) -> anyhow::Result<u32> {
        let look = async || self.pid().filter(|pid| Some(*pid) != last).ok_or(format!("{last:?}"));
        until("the engine is started", look).await
    }

    /// Waits until it has answered a request in this life, and has another.
    async fn has_answered(&self) -> anyhow::Result<()> {
        let look = async || {
            let url = self.ready().and_then(|ready| Some(format!("{}/sim/stats", ready["http"].as_str()?)));
            let stats = async { reqwest::get(url.unwrap_or_default()).await?.json::<Value>().await };
            let stats = stats.await.map_err(|error| error.to_string())?;
            let busy = stats["answers"].as_u64() > Some(0) && stats["in_flight"].as_u64() > Some(0);
            if busy { Ok(()) } else { Err(stats.to_string()) }
        };
        until("the engine has answered a request", look).await
    }

    fn pid(&self) -> Option<u32> {
        u32::try_from(self.ready()?["pid"].as_u64()?).ok()
    }

    fn ready(&self) -> Option<Value> {
        serde_json::from_str(&std::fs::read_to_string(&self.ready).ok()?).ok()
    }
}

/// The executors of these tests are killed, which an engine survives.
impl Drop for Managed {
    fn drop(&mut self) {
        if let Some(pid) = self.pid().filter(|pid| is_running(*pid)) {
            let _gone = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
    }
}

async fn gone(pid: u32) -> anyhow::Result<()> {
    let look = async || if is_running(pid) { Err(format!("{pid} goes on")) } else { Ok(()) };
    until("the engine is gone", look).await
}

#[tokio::test]
async fn ten_kills_of_the_engine_lose_nothing_and_burn_no_retry() -> anyhow::Result<()> {
    let engine = Managed::new()?;
    // One try: a request of which any failure was counted would end as failed.
    let limits = "[roles.executor.limits]\ntries = 1\nlongest_pause_millis = 200\n";
    let up = Up::with(&engine.entry, limits).await?;
    let (api, input) = (up.api()?, Input::chats(600, "a system prompt"));
    let policy =
        Batch { chunk_limits: Some(ChunkLimits { max_requests: 10, max_seconds: 0.0 }), ..Batch::default() };
    let batch = api.create(&input, policy).await?.name;
    let mut last = None;
    for _ in 0..KILLS {
        let pid = engine.next(last).await?;
        engine.has_answered().await?;
        signal(Some(pid), "KILL").await?;
        last = Some(pid);
    }
    // The batch did not end before the last kill.
    engine.next(last).await?;
    engine.has_answered().await?;
    let ended = api.ended(&batch).await?;
    let audit = api.audit(&input, &ended).await?;
    ensure!(audit.answered == 600 && audit.failed.is_empty(), "{:?}", audit.failed);
    Ok(())
}

#[tokio::test]
async fn an_executor_that_ends_leaves_no_engine() -> anyhow::Result<()> {
    let (engine, fleet) = (Managed::new()?, Fleet::start("").await?);
    let mut executor = fleet.executor_with("managing", &engine.entry).await?;
    let pid = engine.next(None).await?;
    fleet.api()?.serves("simulated").await?;
    ensure!(is_running(pid), "the engine is not there");
    executor.signal("TERM").await?;
    ensure!(executor.ended().await? == Some(0), "not a good end");
    ensure!(!is_running(pid), "the engine is left");
    let log = std::fs::read_to_string(engine.directory.path().join("ollama-0.log"))?;
    ensure!(log.contains("simulated engine at"), "{log}");
    Ok(())
}

#[tokio::test]
async fn an_executor_that_was_killed_finds_its_engine_again_and_ends_it() -> anyhow::Result<()> {
    let (engine, fleet) = (Managed::new()?, Fleet::start("[lease]\nttl_ms = 1500\n").await?);
    let mut executor = fleet.executor_with("managing", &engine.entry).await?;
    let orphan = engine.next(None).await?;
    executor.kill().await?;
    ensure!(is_running(orphan), "the engine has ended with its executor");
    let _again = fleet.executor_with("managing", &engine.entry).await?;
    let pid = engine.next(Some(orphan)).await?;
    gone(orphan).await?;
    let (api, input) = (fleet.api()?, Input::chats(20, "s"));
    let ended = api.ended(&api.create(&input, Batch::default()).await?.name).await?;
    ensure!(api.audit(&input, &ended).await?.answered == 20, "not all are answered");
    ensure!(is_running(pid), "the new engine is not there");
    Ok(())
}
