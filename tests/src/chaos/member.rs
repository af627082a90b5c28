//! One process at work, with those that it has started.

use anyhow::ensure;

use super::{clock, engine::Control, fault::Seat};
use crate::{Process, is_running, signal, until};

/// A process at work; its lock is held by the fault that holds.
#[derive(Debug)]
pub(super) struct Member {
    process: Process,
    pid: Option<u32>,
    /// Of an engine.
    pub(super) control: Option<Control>,
}

// === impl Member ===

impl Member {
    pub(super) fn new(process: Process) -> Self {
        Self { pid: process.id(), process, control: None }
    }

    /// That it has not ended by itself.
    ///
    /// # Errors
    /// If it has.
    pub(super) fn lives(&mut self, seat: Seat) -> anyhow::Result<()> {
        let ended = self.process.has_ended()?;
        ensure!(ended.is_none(), "{seat} ended by itself: {ended:?}: {}", self.process.log());
        Ok(())
    }

    /// SIGSTOP for it and for its children: a PostgreSQL is many processes.
    ///
    /// # Errors
    /// If it is gone.
    pub(super) async fn stop(&self) -> anyhow::Result<()> {
        self.process.signal("STOP").await?;
        self.tell_children("STOP").await;
        Ok(())
    }

    /// SIGCONT after `stop`.
    ///
    /// # Errors
    /// If it is gone.
    pub(super) async fn resume(&self) -> anyhow::Result<()> {
        self.tell_children("CONT").await;
        self.process.signal("CONT").await
    }

    /// `kill -9` for it and its children; returns when all are dead.
    ///
    /// # Errors
    /// If they do not die.
    pub(super) async fn kill(&mut self) -> anyhow::Result<()> {
        // So that it starts no others meanwhile.
        self.process.signal("STOP").await?;
        let children = self.children();
        self.tell_children("KILL").await;
        self.process.kill().await?;
        until("the children of a process that was killed are dead", async || {
            let left: Vec<_> = children.iter().filter(|child| is_running(**child)).collect();
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await
    }

    /// Asks it to stop and waits for its end.
    ///
    /// # Errors
    /// If it does not end in good order.
    pub(super) async fn drain(&mut self, seat: Seat) -> anyhow::Result<()> {
        // PostgreSQL takes SIGTERM for a wish to wait until nobody is connected.
        self.process.signal(if seat == Seat::Database { "INT" } else { "TERM" }).await?;
        let code = self.process.ended().await?;
        let is_good = match seat {
            // An engine knows no good end.
            Seat::Engine(_) => code.is_none(),
            // SeaweedFS says nothing with it.
            Seat::Objects => true,
            _ => code == Some(0),
        };
        ensure!(is_good, "{seat} ended with {code:?} when it was asked to: {}", self.process.log());
        Ok(())
    }

    /// One that has just ended by itself needs no telling.
    async fn tell_children(&self, what: &str) {
        for child in self.children() {
            let _ = signal(Some(child), what).await;
        }
    }

    fn children(&self) -> Vec<u32> {
        let Some(pid) = self.process.id() else { return Vec::new() };
        let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        text.split_whitespace().filter_map(|child| child.parse().ok()).collect()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.pid.into_iter().for_each(clock::forget);
    }
}
