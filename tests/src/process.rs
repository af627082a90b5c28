use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use crate::wait::{LIMIT, until};

/// Bytes of a log that are shown.
const SHOWN: usize = 6_000;

/// One of Caravan's programs at work. Killed when dropped; then the end of its log is
/// printed, which a test shows if it fails.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    is_shown: bool,
}

/// The path of one of the workspace's programs: beside the test that runs.
///
/// # Errors
/// If it was not built.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let me = std::env::current_exe().context("no path of the test itself")?;
    // Tests stand in `deps` below the programs, benches beside them.
    let beside = me.ancestors().skip(1).take(2).map(|directory| directory.join(name));
    let found = beside.into_iter().find(|path| path.is_file());
    found.with_context(|| format!("{name} is not built: run `cargo build --workspace` first"))
}

/// Sends a signal, e.g. `TERM`, to the process with this id.
///
/// # Errors
/// If the process is gone.
pub async fn signal(pid: Option<u32>, signal: &str) -> anyhow::Result<()> {
    let pid = pid.context("the process is gone")?;
    let sent = Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).status().await?;
    if sent.success() { Ok(()) } else { bail!("{signal} was not sent to {pid}") }
}

/// Whether a process is at work: one that has ended and that nobody has waited for is not.
#[must_use]
pub fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().next());
    state.is_some_and(|state| !matches!(state, "Z" | "X"))
}

// === impl Process ===

impl Process {
    /// Starts `program` with `args`; its log goes to `directory`.
    ///
    /// # Errors
    /// If it is not built or cannot be started.
    pub fn start(
        program: &str,
        name: &str,
        directory: &Path,
        args: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>,
    ) -> anyhow::Result<Self> {
        let mut command = std::process::Command::new(binary(program)?);
        command.args(args);
        Self::spawn(command, name, directory)
    }

    /// Starts whatever `command` is; its log goes to `directory`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn(command: std::process::Command, name: &str, directory: &Path) -> anyhow::Result<Self> {
        let log = directory.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log)?;
        let program = command.get_program().to_owned();
        let child = Command::from(command)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_else(|_| "info".into()))
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { name: name.to_owned(), child, log, is_shown: true })
    }

    /// Its log is not printed when it is dropped: whoever has its directory has it.
    #[must_use]
    pub fn quiet(mut self) -> Self {
        self.is_shown = false;
        self
    }

    /// Its id; none once its end is known.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn has_ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits until the process has written its ready file, and gives what it says.
    ///
    /// # Errors
    /// If it ends before, or takes too long.
    pub async fn ready(&mut self, file: &Path) -> anyhow::Result<Value> {
        let pid = self.child.id();
        let what = format!("{} is ready", self.name);
        let ready = until(&what, async || {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Ok(Err(anyhow::anyhow!("{} ended: {status}: {}", self.name, self.log())));
            }
            let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
            let ready: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
            // A file of an earlier life is not this one's.
            if ready["pid"].as_u64() == pid.map(u64::from) { Ok(Ok(ready)) } else { Err(text) }
        });
        ready.await?
    }

    /// As `kill -9`; returns when it is dead.
    ///
    /// # Errors
    /// If it cannot be killed.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().await.with_context(|| format!("cannot kill {}", self.name))
    }

    /// Sends a signal, e.g. `TERM`.
    ///
    /// # Errors
    /// If the process is gone.
    pub async fn signal(&self, signal: &str) -> anyhow::Result<()> {
        self::signal(self.child.id(), signal).await.with_context(|| format!("{} gets no signal", self.name))
    }

    /// Waits for its end; gives its exit code, none if a signal ended it.
    ///
    /// # Errors
    /// If it takes too long.
    pub async fn ended(&mut self) -> anyhow::Result<Option<i32>> {
        match timeout(LIMIT, self.child.wait()).await {
            Ok(status) => Ok(status?.code()),
            Err(_) => bail!("{} goes on: {}", self.name, self.log()),
        }
    }

    /// The end of what it wrote.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(SHOWN)..]).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.is_shown {
            return;
        }
        println!("=== log of {}\n{}", self.name, self.log());
    }
}
