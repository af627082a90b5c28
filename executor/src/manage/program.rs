//! A program that serves one engine.

use std::{os::fd::OwnedFd, process::Stdio, sync::Arc, time::Duration};

use caravan_request::EngineKind;
use tokio::{net::unix::pipe, process::Command, task::JoinSet};
use url::Url;

use super::{
    Error, Launch, ManagedOptions, Running,
    command::CommandLine,
    mark::{self, Mark},
    output::{self, LastWords, Log},
};
use crate::{engine::Engine, options::EngineOptions};

/// Variables of Caravan's own configuration begin so: engines have no use for them.
const OWN_VARIABLES: &str = "CARAVAN_";

/// A program that serves one engine, and how it is called.
#[derive(Debug)]
pub(crate) struct Program {
    /// `Engine.id`.
    id: String,
    kind: EngineKind,
    /// Where it listens, in each of its lives.
    url: Url,
    options: ManagedOptions,
    /// Tells whether its API answers.
    engine: Arc<dyn Engine>,
}

// === impl Program ===

impl Program {
    /// The program of the engine `id`, which `engine` talks to; none if its entry does not have it
    /// managed. The entry is one with a URL (`manage::expand`).
    pub(crate) fn new(id: &str, options: &EngineOptions, engine: Arc<dyn Engine>) -> Option<Self> {
        let (managed, url) = (options.managed.clone()?, options.url.clone()?);
        Some(Self { id: id.to_owned(), kind: options.kind, url, options: managed, engine })
    }

    /// Starts it and waits until its API answers (bounded by `start_seconds`). What an earlier life
    /// of it has left, or an executor that is no more, is killed before. It is killed with its
    /// children when dropped or stopped.
    ///
    /// # Errors
    /// If it does not start, ends, or does not answer in time.
    pub(crate) async fn start(&self, launch: &Launch) -> Result<Running, Error> {
        let mark = Mark::new(&self.id);
        if let Some(mark) = mark.clone() {
            // Reads all of `/proc`. A panic in there has killed less than it should have, no more.
            let _swept = tokio::task::spawn_blocking(move || mark.sweep()).await;
        }
        let line = CommandLine::new(self.kind, &self.url, &self.options, launch);
        let words = LastWords::new();
        let log = self.log().await?;
        let spawn = |source| Error::Spawn { program: line.words.join(" "), source };
        let (reader, writer) = std::io::pipe().map_err(spawn)?;
        let reader = pipe::Receiver::from_owned_fd(OwnedFd::from(reader)).map_err(spawn)?;
        let mut command = command(&line, mark.as_ref()).map_err(spawn)?;
        command.stdout(writer.try_clone().map_err(spawn)?).stderr(writer);
        let child = command.spawn().map_err(spawn)?;
        // It holds this process's end of the pipe.
        drop(command);
        let mut reading = JoinSet::new();
        reading.spawn(output::keep(reader, words.clone(), log));
        let stop_within = Duration::from_secs(self.options.stop_seconds);
        let mut running =
            Running::new(child, self.url.clone(), reading, words, stop_within).map_err(spawn)?;
        running.answers(&*self.engine, Duration::from_secs(self.options.start_seconds)).await?;
        Ok(running)
    }

    /// How it is configured.
    pub(super) fn options(&self) -> &ManagedOptions {
        &self.options
    }

    async fn log(&self) -> Result<Option<Log>, Error> {
        let Some(directory) = &self.options.log_dir else { return Ok(None) };
        let path = directory.join(format!("{}.log", self.id));
        let log = Log::open(&path, self.options.log_bytes).await;
        log.map(Some).map_err(|source| Error::Log { path, source })
    }
}

/// The command, as the leader of a process group of its own: signals for the executor's group do
/// not reach it, and one for its group reaches all its children.
fn command(line: &CommandLine, mark: Option<&Mark>) -> std::io::Result<Command> {
    let (program, args) = line.words.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).process_group(0).kill_on_drop(true);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with(OWN_VARIABLES) {
            command.env_remove(name);
        }
    }
    for (name, value) in &line.env {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    if let Some(mark) = mark {
        command.env(mark::VARIABLE, mark.to_string());
    }
    Ok(command)
}
