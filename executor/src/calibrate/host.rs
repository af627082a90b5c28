//! What a calibration reads of the host that the engine runs on.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use procfs::{Current as _, Meminfo};
use url::Url;

use crate::{
    gpu::{Probe, Sample},
    processes,
};

/// The host's memory.
#[async_trait]
pub(crate) trait Host: Send + Sync + fmt::Debug {
    /// The GPUs now.
    async fn gpus(&self) -> Sample;

    /// The engine's processes: those behind its port.
    fn engine_pids(&self) -> Vec<u32>;

    /// Bytes of host memory that these processes have for themselves; none if that cannot be read.
    fn resident(&self, pids: &[u32]) -> Option<u64>;

    /// Bytes of host memory that could be taken now; none if that cannot be read.
    fn available(&self) -> Option<u64>;
}

/// This host, with the engine that listens on a port of it.
#[derive(Debug)]
pub(crate) struct Here {
    probe: Arc<Mutex<Box<dyn Probe>>>,
    port: Option<u16>,
}

// === impl Here ===

impl Here {
    /// With the engine at `url`, if that is on this host.
    pub(crate) fn new(probe: Box<dyn Probe>, url: Option<&Url>) -> Self {
        let port = url.and_then(processes::loopback_port);
        Self { probe: Arc::new(Mutex::new(probe)), port }
    }
}

#[async_trait]
impl Host for Here {
    async fn gpus(&self) -> Sample {
        let probe = Arc::clone(&self.probe);
        let sampling = move || probe.lock().unwrap_or_else(PoisonError::into_inner).sample();
        let sample = tokio::task::spawn_blocking(sampling).await;
        sample.unwrap_or_else(|_| Err("the reading of GPUs was stopped".to_owned()))
    }

    fn engine_pids(&self) -> Vec<u32> {
        self.port.and_then(processes::behind).unwrap_or_default()
    }

    fn resident(&self, pids: &[u32]) -> Option<u64> {
        processes::resident(pids)
    }

    fn available(&self) -> Option<u64> {
        Meminfo::current().ok()?.mem_available
    }
}
