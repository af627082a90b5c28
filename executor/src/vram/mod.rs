//! Control of VRAM: whose memory it is, and what follows where there is too much in use.
//!
//! - `reading` takes the figures, on a thread of its own,
//! - `share` says whose memory it is, and who is the cause where a GPU is filled above its ceiling,
//! - `control` decides what follows, without a clock or a socket of its own,
//! - `keeper` does it for one engine,
//! - `told` is what the planner hears of it.
//!
//! The memory of a KV cache is fixed when a model is loaded. So above the ceiling nothing is won by
//! sending fewer requests: what runs is finished, then the engine is loaded with less, if it is the cause.

mod control;
mod keeper;
mod reading;
mod share;
mod told;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use caravan_proto::v1::Gpu;
use caravan_request::EngineKind;
use tokio::{sync::watch, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    gpu::{Probe, Sample},
    ledger::Ledger,
    manage::{Gpus, ManagedOptions},
    metrics,
    options::{Ceiling, EngineOptions, Limits, Options},
    processes,
    unit::Unit,
};
use keeper::Keeper;
use reading::{Reader, Reading};
use share::{Share, Tenant};
use told::Standing;

/// Readings that may be missing before their numbers are no longer believed: a driver that hangs
/// keeps its last word otherwise.
const MISSED_READINGS: u32 = 10;

/// The VRAM of this host, and what its engines have of it.
#[derive(Debug)]
pub(crate) struct Vram {
    units: Vec<Arc<Unit>>,
    /// GPUs of each unit, where that is configured, each by its index or UUID.
    configured: Vec<Vec<String>>,
    ports: Vec<Option<u16>>,
    ceiling: Ceiling,
    limits: Limits,
    divided: watch::Sender<Divided>,
    /// How each unit stands, in order.
    standings: Mutex<Vec<Standing>>,
}

/// The GPUs, and what each unit has of them, in order.
#[derive(Debug, Clone)]
pub(crate) struct Divided {
    gpus: Sample,
    shares: Vec<Share>,
}

// === impl Vram ===

impl Vram {
    /// Of `units`, which are the engines of `options`, in order.
    pub(crate) fn new(options: &Options, units: &[Arc<Unit>]) -> Self {
        let nothing =
            Divided { gpus: Err("not read yet".into()), shares: vec![Share::default(); units.len()] };
        Self {
            units: units.to_vec(),
            configured: options.engines.iter().map(configured).collect(),
            ports: options
                .engines
                .iter()
                .map(|engine| processes::loopback_port(engine.url.as_ref()?))
                .collect(),
            ceiling: options.vram_ceiling,
            limits: options.limits.clone(),
            divided: watch::Sender::new(nothing),
            standings: Mutex::new(vec![Standing::Works; units.len()]),
        }
    }

    /// Reads `probe` and keeps every engine below the ceiling, until `stop`.
    pub(crate) async fn run(
        self: Arc<Self>,
        probe: Box<dyn Probe>,
        ledger: Arc<Ledger>,
        stop: CancellationToken,
    ) {
        let mut keepers = JoinSet::new();
        for (place, unit) in self.units.iter().enumerate() {
            let keeper = Keeper::new(place, Arc::clone(unit), Arc::clone(&ledger), Arc::clone(&self));
            keepers.spawn(keeper.run());
        }
        let readings = watch::Sender::new(None);
        let read = readings.subscribe();
        let reader = Reader::new(probe, self.ports.clone());
        tokio::select! {
            () = reading::run(reader, self.limits.gpu(), readings, stop) => {}
            () = self.divide(read) => {}
        }
        keepers.shutdown().await;
    }

    /// Divides up what is read.
    async fn divide(&self, mut readings: watch::Receiver<Option<Reading>>) {
        let mut known: HashMap<usize, Vec<i32>> = HashMap::new();
        let patience = self.limits.gpu() * MISSED_READINGS;
        loop {
            let reading = match timeout(patience, readings.changed()).await {
                Ok(Ok(())) => readings.borrow_and_update().clone(),
                Ok(Err(_)) => return std::future::pending().await,
                Err(_) => Some(Reading::silent(patience)),
            };
            let Some(mut reading) = reading else { continue };
            let tenants = self.tenants(&reading, &known);
            let shares = match &mut reading.gpus {
                Ok(gpus) => {
                    let shares = share::divide(gpus, &tenants, self.ceiling, &reading.unseen);
                    self.count(gpus);
                    gpus.iter_mut().for_each(|gpu| gpu.processes.truncate(told::MOST_PROCESSES));
                    shares
                }
                Err(_) => vec![Share::default(); tenants.len()],
            };
            for (place, share) in shares.iter().enumerate().filter(|(_, share)| !share.gpus.is_empty()) {
                known.insert(place, share.gpus.clone());
            }
            self.divided.send_replace(Divided { gpus: reading.gpus, shares });
        }
    }

    fn count(&self, gpus: &[Gpu]) {
        let engines: Vec<_> = self.units.iter().map(|unit| &*unit.id).collect();
        for gpu in gpus {
            let total = gpu.vram_total_bytes.and_then(|total| u64::try_from(total).ok());
            metrics::vram(gpu, total.map(|total| self.ceiling.of(total)), &engines);
        }
    }

    /// The engines as they are now. A GPU that one has used is its own also while nothing is loaded.
    fn tenants(&self, reading: &Reading, known: &HashMap<usize, Vec<i32>>) -> Vec<Tenant> {
        let units = self.units.iter().zip(&self.configured).enumerate();
        let tenant = |(place, (unit, configured)): (usize, (&Arc<Unit>, &Vec<String>))| Tenant {
            id: Arc::clone(&unit.id),
            gpus: indexes(configured, &reading.gpus),
            used_before: known.get(&place).cloned().unwrap_or_default(),
            processes: reading.trees.get(place).cloned().flatten(),
            said: said(unit),
        };
        units.map(tenant).collect()
    }

    fn standings(&self) -> MutexGuard<'_, Vec<Standing>> {
        self.standings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of VRAM that the engine says it has filled; none if it does not tell.
fn said(unit: &Unit) -> Option<u64> {
    let health = unit.health.now();
    let tells = health.up && unit.engine.kind() == EngineKind::Ollama;
    let loaded = health.description.models.iter().filter_map(|model| model.loaded);
    tells.then(|| loaded.map(|loaded| loaded.size_vram).sum())
}

fn configured(engine: &EngineOptions) -> Vec<String> {
    match &engine.managed {
        Some(ManagedOptions { gpus: Gpus::Each(gpus), .. }) if engine.gpus.is_empty() => {
            gpus.iter().flat_map(|gpus| gpus.split(',')).map(|gpu| gpu.trim().to_owned()).collect()
        }
        _ => engine.gpus.iter().map(ToString::to_string).collect(),
    }
}

/// The indexes of GPUs that are named by index or UUID, of which the beginning will do.
fn indexes(names: &[String], gpus: &Sample) -> Vec<i32> {
    let is_named = |gpu: &&Gpu| {
        names.iter().any(|name| {
            *name == gpu.index.to_string()
                || (name.starts_with("GPU-") && gpu.uuid.starts_with(name.as_str()))
        })
    };
    gpus.iter().flatten().filter(is_named).map(|gpu| gpu.index).collect()
}

impl Reading {
    fn silent(time: Duration) -> Self {
        let why = format!("NVML has not answered for {} s", time.as_secs_f64());
        Self { gpus: Err(why), trees: Vec::new(), unseen: Default::default() }
    }
}
