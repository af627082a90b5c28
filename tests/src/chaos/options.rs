use std::time::Duration;

use anyhow::ensure;

/// Where rows are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Store {
    /// A file of the one planner.
    #[default]
    Sqlite,
    /// A server of the run's own, which faults strike too.
    Postgres,
}

/// Where bytes are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Objects {
    /// A directory of all planners.
    #[default]
    Directory,
    /// A server of the run's own, which faults strike too.
    S3,
}

/// What a run is like. The same options draw the same faults for the same work.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Seed of the faults and of their times.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where rows are kept.
    #[arg(long, value_enum, default_value_t)]
    pub store: Store,
    /// Where bytes are kept.
    #[arg(long, value_enum, default_value_t)]
    pub objects: Objects,
    /// Planners on one database. Default: 2, on SQLite 1, which allows no more.
    #[arg(long)]
    pub planners: Option<usize>,
    /// Gateways; each may use every planner.
    #[arg(long, default_value_t = 2)]
    pub gateways: usize,
    /// Executors; each may use every planner.
    #[arg(long, default_value_t = 4)]
    pub executors: usize,
    /// Engines, dealt out to the executors in turn.
    #[arg(long, default_value_t = 4)]
    pub engines: usize,
    /// Requests of all batches together.
    #[arg(long, default_value_t = 2_000)]
    pub requests: usize,
    /// Faults, spread over the work.
    #[arg(long, default_value_t = 20)]
    pub faults: usize,
    /// Faults that may hold at the same time.
    #[arg(long, default_value_t = 3)]
    pub at_once: usize,
    /// Milliseconds of an engine for the shortest answer; the longest takes four times as long. The
    /// default makes 2,000 requests on 16 slots last for as long as 20 faults do.
    #[arg(long, default_value_t = 120)]
    pub answer_ms: u64,
    /// Life of a lease without heartbeat, in milliseconds: short, so that takeovers fit into a run, and
    /// longer than an executor takes to notice that a planner is gone, as the default is.
    #[arg(long, default_value_t = 4_000)]
    pub ttl_ms: u64,
    /// The run has failed when nothing became final for so many seconds.
    #[arg(long, default_value_t = 90)]
    pub patience_seconds: u64,
}

/// Requests that an engine runs in parallel.
pub(super) const SLOTS: usize = 4;

// === impl Options ===

impl Options {
    /// What clap cannot check.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let one = self.store == Store::Postgres || self.planners() == 1;
        ensure!(one, "--planners: SQLite is one planner's: give 1, or --store postgres");
        let some =
            self.planners() > 0 && self.gateways > 0 && self.executors > 0 && self.engines >= self.executors;
        ensure!(some, "give at least one planner, gateway and executor, and an engine for each executor");
        ensure!(self.requests >= 100, "--requests: at least 100, so that every batch has some");
        ensure!(self.at_once > 0, "--at-once: at least 1");
        ensure!(
            self.ttl_ms >= 500,
            "--ttl-ms: at least 500, so that a busy machine is not taken for a fault"
        );
        Ok(())
    }

    pub(super) fn store_name(&self) -> &'static str {
        match self.store {
            Store::Sqlite => "SQLite",
            Store::Postgres => "PostgreSQL",
        }
    }

    pub(super) fn objects_name(&self) -> &'static str {
        match self.objects {
            Objects::Directory => "directory",
            Objects::S3 => "S3",
        }
    }

    pub(super) fn planners(&self) -> usize {
        self.planners.unwrap_or(if self.store == Store::Sqlite { 1 } else { 2 })
    }

    pub(super) fn ttl(&self) -> Duration {
        Duration::from_millis(self.ttl_ms)
    }

    pub(super) fn patience(&self) -> Duration {
        Duration::from_secs(self.patience_seconds)
    }
}
