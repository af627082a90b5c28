//! What is read: the GPUs, and the processes of the engines.

use std::{
    collections::HashSet,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use tokio::{
    sync::{oneshot, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    gpu::{Probe, Sample},
    processes,
};

/// How long the last reading is waited for at the end: a lost GPU can keep a call of its driver for
/// ever, and the process must end all the same.
const LAST_READING: Duration = Duration::from_secs(5);

/// GPUs and processes at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    pub(super) gpus: Sample,
    /// The processes of each engine; none where they are not seen.
    pub(super) trees: Vec<Option<Vec<u32>>>,
    /// Processes of the GPUs that are not seen in `/proc`: they are of another namespace, and may be
    /// anybody's.
    pub(super) unseen: HashSet<i64>,
}

/// Reads. May block.
#[derive(Debug)]
pub(super) struct Reader {
    probe: Box<dyn Probe>,
    /// Where each engine listens, if it is on this host.
    ports: Vec<Option<u16>>,
}

// === impl Reader ===

impl Reader {
    pub(super) fn new(probe: Box<dyn Probe>, ports: Vec<Option<u16>>) -> Self {
        Self { probe, ports }
    }

    fn read(&mut self) -> Reading {
        let gpus = self.probe.sample();
        // Without a GPU nobody asks.
        let is_asked = gpus.as_ref().is_ok_and(|gpus| !gpus.is_empty());
        let tree = |port: &Option<u16>| port.filter(|_| is_asked).and_then(processes::behind);
        let trees = self.ports.iter().map(tree).collect();
        let listed = gpus.iter().flatten().flat_map(|gpu| &gpu.processes).map(|process| process.pid);
        let unseen = listed.filter(|pid| !processes::is_seen(*pid)).collect();
        Reading { gpus, trees, unseen }
    }
}

/// Reads every `interval` on a thread of its own, until `stop`. Returns when that thread has ended, or
/// is not likely to.
pub(super) async fn run(
    mut reader: Reader,
    interval: Duration,
    readings: watch::Sender<Option<Reading>>,
    stop: CancellationToken,
) {
    let (running, stopped) = mpsc::channel::<()>();
    let (ending, ended) = oneshot::channel::<()>();
    let read = move || {
        // Dropped at the end, however that comes.
        let _ending = ending;
        let mut failed = false;
        loop {
            let reading = reader.read();
            if let (false, Err(why)) = (failed, &reading.gpus) {
                tracing::info!(why, "GPUs cannot be read");
            }
            failed = reading.gpus.is_err();
            readings.send_replace(Some(reading));
            // The sender is dropped when it is time to stop.
            if stopped.recv_timeout(interval) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        }
    };
    if let Err(error) = thread::Builder::new().name("vram".into()).spawn(read) {
        tracing::error!(%error, "no thread for reading GPUs");
    }
    stop.cancelled().await;
    drop(running);
    if timeout(LAST_READING, ended).await.is_err() {
        tracing::warn!("the driver of the GPUs does not answer: not waited for");
    }
}
