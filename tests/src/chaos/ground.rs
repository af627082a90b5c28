//! What a run stands on: a disk, a network and clocks that faults can strike, as far as this machine
//! has them, and the files of a database.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use caravan_test_postgres::Instance;
use tokio::time::sleep;

use super::{
    clock::Clock,
    config::DATA,
    fault::{APART, Means, Seat},
    link::Target,
    namespace::{Disk, Network},
    options::{Objects, Options, Store},
};
use crate::{Process, until};

/// Room for planners: for a run without requests, and for each request.
const ROOM: [u64; 2] = [64 << 20, 16 << 10];

/// What there is.
#[derive(Debug)]
pub(super) struct Ground {
    disk: Option<Disk>,
    pub(super) network: Option<Network>,
    clock: Option<Clock>,
    database: Option<Instance>,
    objects: Option<caravan_test_s3::Instance>,
    /// What cannot be done here, and why.
    pub(super) lacks: Vec<String>,
}

// === impl Ground ===

impl Ground {
    /// Gets what this machine has.
    ///
    /// # Errors
    /// If there is no room for files, or no PostgreSQL if there has to be one.
    pub(super) async fn prepare(options: &Options, directory: &Path) -> anyhow::Result<Self> {
        let data = directory.join(DATA);
        std::fs::create_dir(&data)?;
        let mut lacks = Vec::new();
        let mut have = |what: &str, error: anyhow::Error| lacks.push(format!("{what}: {error:#}"));
        let writes = options.objects == Objects::Directory || options.store == Store::Sqlite;
        let bytes = ROOM[0] + ROOM[1] * options.requests as u64;
        let disk = match writes {
            true => Disk::new(&data, bytes).await.map_err(|error| have("disk full", error)).ok(),
            false => {
                have("disk full", anyhow::anyhow!("planners write to PostgreSQL and S3"));
                None
            }
        };
        let network = Network::new().await.map_err(|error| have("network gone", error)).ok();
        let clock = Clock::find().map_err(|error| have("clock jump", error)).ok();
        let database = match options.store {
            Store::Postgres => Some(tokio::task::spawn_blocking(Instance::create).await??),
            Store::Sqlite => None,
        };
        let objects = (options.objects == Objects::S3).then(caravan_test_s3::Instance::create).transpose()?;
        Ok(Self { disk, network, clock, database, objects, lacks })
    }

    pub(super) fn means(&self) -> Means {
        Means { disk: self.disk.is_some(), network: self.network.is_some(), clock: self.clock.is_some() }
    }

    /// `command` where its process belongs, with a clock in `clock` that can be set.
    ///
    /// # Errors
    /// If that place is gone.
    pub(super) fn place(&self, seat: Seat, command: Command, clock: &Path) -> anyhow::Result<Command> {
        let mut command = match (seat, &self.disk, &self.network) {
            (Seat::Planner(_), Some(disk), _) => disk.enter(&command)?,
            (Seat::Executor(APART), _, Some(network)) => network.enter(&command)?,
            _ => command,
        };
        let wears = matches!(seat, Seat::Planner(_) | Seat::Gateway(_) | Seat::Executor(_));
        if let Some(library) = self.clock.as_ref().filter(|_| wears) {
            library.give(&mut command, clock)?;
        }
        Ok(command)
    }

    /// A life of the database, and where it is reached.
    ///
    /// # Errors
    /// If it does not come up.
    pub(super) async fn start_database(&self, name: &str, logs: &Path) -> anyhow::Result<(Process, Target)> {
        let instance = self.database.as_ref().context("no database")?;
        let mut process = Process::spawn(instance.command(), name, logs)?.quiet();
        until("PostgreSQL serves", async || {
            let serves = process.id().is_some_and(|pid| instance.serves(pid));
            match process.has_ended() {
                Ok(None) if serves => Ok(Ok(())),
                Ok(None) => Err(process.log()),
                ended => Ok(Err(anyhow::anyhow!("PostgreSQL ended: {ended:?}: {}", process.log()))),
            }
        })
        .await??;
        Ok((process, Target::Unix(instance.socket())))
    }

    /// A life of the object store, and where it is reached.
    ///
    /// # Errors
    /// If it does not come up.
    pub(super) async fn start_objects(&self, name: &str, logs: &Path) -> anyhow::Result<(Process, Target)> {
        let instance = self.objects.as_ref().context("no object store")?;
        let mut process = Process::spawn(instance.command(), name, logs)?.quiet();
        until("S3 serves", async || match process.has_ended() {
            Ok(None) if instance.serves() => Ok(Ok(())),
            Ok(None) => Err(process.log()),
            ended => Ok(Err(anyhow::anyhow!("S3 ended: {ended:?}: {}", process.log()))),
        })
        .await??;
        Ok((process, Target::Tcp(instance.address())))
    }

    /// Leaves planners no byte for so long.
    ///
    /// # Errors
    /// If there is no such disk.
    pub(super) async fn fill(&self, time: Duration) -> anyhow::Result<()> {
        let disk = self.disk.as_ref().context("no disk")?;
        disk.fill().await?;
        sleep(time).await;
        disk.free()
    }

    /// Takes the network away for so long.
    ///
    /// # Errors
    /// If there is none.
    pub(super) async fn unplug(&self, time: Duration) -> anyhow::Result<()> {
        let network = self.network.as_ref().context("no network")?;
        network.plug(false).await?;
        sleep(time).await;
        network.plug(true).await
    }

    /// Copies what is on the disk to where it outlives it.
    ///
    /// # Errors
    /// If there is no room.
    pub(super) async fn keep(&self, to: &PathBuf) -> anyhow::Result<()> {
        let Some(disk) = &self.disk else { return Ok(()) };
        let mut copy = tokio::process::Command::new("cp");
        let copied = copy.arg("-a").arg(disk.path()?).arg(to).status().await?;
        ensure!(copied.success(), "the data is not kept");
        Ok(())
    }
}
