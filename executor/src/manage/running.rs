//! A managed engine that runs.

use std::{io, process::ExitStatus, time::Duration};

use rustix::{
    io::Errno,
    process::{Pid, Signal, kill_process_group},
};
use tokio::{
    process::Child,
    task::JoinSet,
    time::{Instant, sleep, timeout, timeout_at},
};
use url::Url;

use super::{Error, output::LastWords};
use crate::{backoff::Backoff, engine::Engine, processes};

/// Pauses between two looks whether its API answers.
const LOOKS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// What a dead process wrote last is in the pipe already.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(1);

/// A program with its children, all in one process group. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    /// Its id, and that of its group.
    group: Pid,
    url: Url,
    reading: JoinSet<()>,
    words: LastWords,
    stop_within: Duration,
    /// Nobody is left to signal, and the id may be another's soon.
    over: bool,
}

// === impl Running ===

impl Running {
    /// Of a `child` that leads its own process group.
    pub(super) fn new(
        child: Child,
        url: Url,
        reading: JoinSet<()>,
        words: LastWords,
        stop_within: Duration,
    ) -> io::Result<Self> {
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        let group = pid.ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { child, group, url, reading, words, stop_within, over: false })
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.group.as_raw_nonzero().get().unsigned_abs()
    }

    /// Waits for its end. Its children end with it.
    pub(crate) async fn exited(&mut self) -> ExitStatus {
        let status = self.child.wait().await;
        let _gone = self.signal(Signal::KILL);
        self.over = true;
        // It is our child and nobody else waits for it: the kernel always tells.
        status.unwrap_or_default()
    }

    /// Asks it to end, and kills what of it has not ended within `stop_seconds`.
    ///
    /// # Errors
    /// If it cannot be signalled.
    pub(crate) async fn stop(mut self) -> Result<(), Error> {
        if self.child.try_wait().map_err(Error::Stop)?.is_none() {
            self.signal(Signal::TERM).map_err(Error::Stop)?;
            if timeout(self.stop_within, self.child.wait()).await.is_err() {
                tracing::warn!(pid = self.pid(), "an engine does not end: killing it");
                self.signal(Signal::KILL).map_err(Error::Stop)?;
            }
        }
        self.exited().await;
        Ok(())
    }

    /// Waits until its API answers, at most for `limit`.
    pub(super) async fn answers(&mut self, engine: &dyn Engine, limit: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + limit;
        let mut pauses = Backoff::new(LOOKS.0, LOOKS.1);
        let mut said = String::from("not even once");
        loop {
            let look = async {
                sleep(pauses.pause()).await;
                engine.describe().await
            };
            tokio::select! {
                status = self.exited() => return Err(self.ended(status).await),
                answer = timeout_at(deadline, look) => match answer {
                    Ok(Ok(_)) => break,
                    Ok(Err(failure)) => said = failure.message,
                    Err(_) => return Err(Error::Silent(limit, said)),
                }
            }
        }
        // Whoever answered: it cannot have been this one if this one is dead.
        if let Some(status) = self.child.try_wait().map_err(Error::Stop)? {
            return Err(self.ended(status).await);
        }
        self.check_owner().await?;
        self.words.close();
        Ok(())
    }

    /// It may be about to find its port taken: then somebody else has answered.
    async fn check_owner(&self) -> Result<(), Error> {
        let (own, port) = (self.pid(), self.url.port_or_known_default().unwrap_or_default());
        let stranger = move || processes::listening(port).filter(|pid| !processes::tree(own).contains(pid));
        match tokio::task::spawn_blocking(stranger).await {
            Ok(Some(pid)) => Err(Error::Taken { port, pid }),
            _ => Ok(()),
        }
    }

    /// How it ended before it answered.
    async fn ended(&mut self, status: ExitStatus) -> Error {
        let _all_read = timeout(LAST_WORDS_WITHIN, self.reading.join_next()).await;
        Error::Ended { status, written: self.words.text() }
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        if self.over {
            return Ok(());
        }
        match kill_process_group(self.group, signal) {
            // Nobody is left.
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.signal(Signal::KILL);
    }
}
