//! The executor as a whole: built from options, run until it is asked to stop.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use caravan_proto::name::ExecutorId;
use caravan_service::{
    Shutdown,
    client::{self, Replicas},
    config,
};
use tokio::{
    task::{JoinError, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    backoff::Backoff,
    calibrate::shelf::Shelf,
    engine::{self, Engine},
    first_use::FirstUse,
    gpu,
    lane::Lane,
    ledger::{Bounds, Ledger},
    manage::{self, Supervisor},
    models::{Errands, Getter, Planners},
    options::{Limits, Options},
    session::Session,
    unit::Unit,
    vocabularies,
    vram::Vram,
};

/// Why an executor did not start or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong.
    #[error("cannot start")]
    Config(#[from] config::Error),
    /// A planner's address cannot be used.
    #[error("bad planner")]
    Planner(#[from] client::Error),
    /// An engine's address cannot be used.
    #[error("bad engine")]
    Engine(#[from] engine::Error),
    /// A managed engine cannot be had as configured.
    #[error("bad managed engine")]
    Manage(#[from] manage::Error),
    /// The directory of profiles cannot be used.
    #[error("directory of profiles {} cannot be used", path.as_deref().unwrap_or(Path::new("")).display())]
    Profiles {
        /// Which.
        path: Option<PathBuf>,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The ready file cannot be written.
    #[error("ready file not written")]
    Ready(#[source] io::Error),
    /// A task panicked.
    #[error("a defect ended a task")]
    Defect(#[from] JoinError),
}

/// An executor that is ready to run.
#[derive(Debug)]
pub struct Service {
    session: Session,
    units: Vec<Arc<Unit>>,
    /// Of each unit, where it is allowed.
    first_uses: Vec<Option<Arc<FirstUse>>>,
    getters: Vec<Getter>,
    ledger: Arc<Ledger>,
    limits: Limits,
    probe: Box<dyn gpu::Probe>,
    vram: Arc<Vram>,
}

// === impl Service ===

impl Service {
    /// An executor for `engines`, which are those of `options`, in order.
    ///
    /// # Errors
    /// If a planner's URL cannot be used.
    pub(crate) fn new(
        options: &Options,
        engines: Vec<Arc<dyn Engine>>,
        probe: Box<dyn gpu::Probe>,
        shelf: Shelf,
    ) -> Result<Self, Error> {
        let id = ExecutorId::now();
        let replicas = Replicas::new(&in_turn(&options.planner, id), &options.client)?;
        let limits = options.limits.clone();
        let bounds = Bounds {
            results: limits.unacked_results,
            bytes: limits.unacked_bytes,
            ack_within: limits.ack_within(),
            message_bytes: limits.message_bytes,
        };
        let ledger = Arc::new(Ledger::new(bounds, limits.lease_ttl()));
        let units = engines.into_iter().zip(&options.engines).enumerate();
        let units: Vec<_> = units
            .map(|(place, (engine, engine_options))| {
                Arc::new(Unit::new(place, engine, engine_options, &limits, options.liveness))
            })
            .collect();
        // Until an engine has answered, its lanes ask for nothing.
        units.iter().for_each(|unit| ledger.set_up(&unit.id, false));
        let vram = Arc::new(Vram::new(options, &units));
        let errands = Arc::new(Errands::new(units.iter().map(|unit| Arc::clone(&unit.id))));
        let getter = |unit: &Arc<Unit>| Getter {
            unit: Arc::clone(unit),
            errands: Arc::clone(&errands),
            ledger: Arc::clone(&ledger),
            planners: Planners {
                replicas: replicas.clone(),
                first_pause: limits.first_pause(),
                longest_pause: limits.longest_pause(),
                patience: limits.fetch_patience(),
            },
            silence: limits.model_silence(),
        };
        let getters: Vec<_> = units.iter().map(getter).collect();
        let shelf = Arc::new(shelf);
        let each = units.iter().zip(&options.engines).enumerate();
        let first_uses = each.map(|(place, (unit, engine))| {
            FirstUse::new(options, place, engine, unit, &vram, &shelf, &ledger).map(Arc::new)
        });
        let first_uses = first_uses.collect();
        let session = Session {
            id,
            host: options.host_name(),
            planners: replicas,
            limits: limits.clone(),
            units: units.clone(),
            ledger: Arc::clone(&ledger),
            errands,
            vram: Arc::clone(&vram),
            shelf,
            ready_file: options.ready_file.clone(),
        };
        Ok(Self { session, units, first_uses, getters, ledger, limits, probe, vram })
    }

    /// The name of this process in the fleet.
    #[must_use]
    pub fn id(&self) -> ExecutorId {
        self.session.id
    }

    /// Works until `shutdown`, then drains: unstarted chunks go back at once, running
    /// requests end within the drain limit, their chunks' rest goes back, the last results are
    /// acked within `limits.last_acks_millis`, and managed engines are stopped.
    ///
    /// # Errors
    /// If the ready file cannot be written, or a task has a defect.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), Error> {
        let Self { session, units, first_uses, getters, ledger, limits, probe, vram } = self;
        let [lanes_ended, gpus_stop, engines_stop] = [(); 3].map(|()| CancellationToken::new());
        let mut sessions = JoinSet::new();
        sessions.spawn(session.run(lanes_ended.clone()));
        let mut gpu_reader = JoinSet::new();
        gpu_reader.spawn(vram.run(probe, Arc::clone(&ledger), gpus_stop.clone()));
        let (mut watchers, mut drivers) = (JoinSet::new(), JoinSet::new());
        watchers.spawn(vocabularies::serve(units.clone(), Arc::clone(&ledger)));
        for getter in getters {
            watchers.spawn(getter.serve());
        }
        // Engines are started before anybody asks for them.
        let mut supervisors = JoinSet::new();
        for supervisor in units.iter().filter_map(|unit| Supervisor::new(unit, &ledger, &limits)) {
            supervisors.spawn(supervisor.run(engines_stop.clone()));
        }
        for (unit, first_use) in units.into_iter().zip(first_uses) {
            watchers.spawn(watch(Arc::clone(&unit), Arc::clone(&ledger), limits.clone()));
            drivers.spawn(drive(unit, first_use, Arc::clone(&ledger), limits.clone(), shutdown.clone()));
        }

        tokio::select! {
            () = shutdown.cancelled() => {}
            Some(ended) = sessions.join_next() => return ended?,
            Some(panicked) = watchers.join_next() => return panicked.map_err(Into::into),
            Some(panicked) = supervisors.join_next() => return panicked.map_err(Into::into),
            defect = first_defect(&mut drivers, &shutdown) => return Err(defect),
        }
        ledger.drain();
        while let Some(ended) = drivers.join_next().await {
            ended??;
        }
        lanes_ended.cancel();
        engines_stop.cancel();
        match timeout(limits.last_acks(), sessions.join_next()).await {
            Ok(Some(ended)) => ended??,
            Ok(None) => {}
            Err(_) => tracing::warn!(unacked = ledger.unacked(), "gave up waiting for the planner"),
        }
        while let Some(ended) = supervisors.join_next().await {
            ended?;
        }
        gpus_stop.cancel();
        while gpu_reader.join_next().await.is_some() {}
        Ok(())
    }
}

/// The planners in this executor's own order, so that a fleet of executors spreads over them.
fn in_turn(planners: &[Url], id: ExecutorId) -> Vec<Url> {
    let mut planners = planners.to_vec();
    // The low bits of an id are random.
    let [.., low] = id.uuid().into_bytes();
    let first = usize::from(low) % planners.len().max(1);
    planners.rotate_left(first);
    planners
}

/// Watches one engine for as long as the process lives.
async fn watch(unit: Arc<Unit>, ledger: Arc<Ledger>, limits: Limits) {
    let probe = Backoff::new(limits.first_pause(), limits.longest_pause());
    unit.watch(&ledger, limits.refresh(), probe).await;
}

/// Drives one engine with its lanes until the process drains.
async fn drive(
    unit: Arc<Unit>,
    first_use: Option<Arc<FirstUse>>,
    ledger: Arc<Ledger>,
    limits: Limits,
    shutdown: Shutdown,
) -> Result<(), Error> {
    let mut running = JoinSet::new();
    let mut lanes = 0;
    while !shutdown.is_triggered() {
        tokio::select! {
            () = shutdown.cancelled() => {}
            Some(ended) = running.join_next() => ended?,
            now = unit.lanes.more_than(lanes) => {
                tracing::info!(engine = &*unit.id, lanes = now, "driving");
                for index in lanes..now {
                    let (unit, ledger) = (Arc::clone(&unit), Arc::clone(&ledger));
                    let (first_use, limits) = (first_use.clone(), limits.clone());
                    let lane = Lane::new(index, unit, first_use, ledger, limits, shutdown.clone());
                    running.spawn(lane.run());
                }
                lanes = now;
            }
        }
    }
    while let Some(ended) = running.join_next().await {
        ended?;
    }
    Ok(())
}

/// Waits for a driver that ends though nobody asked it to.
async fn first_defect(drivers: &mut JoinSet<Result<(), Error>>, shutdown: &Shutdown) -> Error {
    loop {
        match drivers.join_next().await {
            Some(Err(panicked)) => return panicked.into(),
            Some(Ok(Err(defect))) => return defect,
            Some(Ok(Ok(()))) => {}
            // The shutdown ends all of them at once.
            None => shutdown.expired().await,
        }
    }
}

/// As the kernel has it.
pub(crate) fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".into() } else { name.into() }
}
