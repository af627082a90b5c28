use std::path::PathBuf;

use anyhow::Context as _;
use caravan_test_postgres::Database;
use tempfile::TempDir;

use crate::{Api, Caravan, Process, objects, rows::Rows};

/// Planners, gateways and executors as processes of their own.
#[derive(Debug)]
pub struct Fleet {
    planners: Vec<Planner>,
    gateways: Vec<Gateway>,
    /// URL of the first gateway's gRPC server.
    pub grpc: String,
    /// URL of the first gateway's HTTP server.
    pub http: String,
    directory: TempDir,
    rows: Rows,
    /// TOML behind what an executor has anyway.
    executors: String,
}

/// TOML of the roles, behind what they have anyway.
#[derive(Debug, Clone, Default)]
pub(crate) struct Configs {
    /// Keys of a planner, then its tables.
    pub(crate) planner: String,
    /// Tables of a gateway.
    pub(crate) gateway: String,
    /// Tables of an executor.
    pub(crate) executor: String,
}

#[derive(Debug)]
struct Planner {
    name: String,
    process: Process,
    /// `HOST:PORT`, the same in every life of it.
    address: String,
    config: String,
}

#[derive(Debug)]
struct Gateway {
    process: Process,
    grpc: String,
    http: String,
}

// === impl Fleet ===

impl Fleet {
    /// A planner and a gateway. `config` is TOML of the planner, e.g. `[lease]`.
    ///
    /// # Errors
    /// If they do not come up.
    pub async fn start(config: &str) -> anyhow::Result<Self> {
        let rows = Rows::fresh()?;
        Self::of(&["planner"], &["gateway"], rows, config).await
    }

    /// As `start`, with rows in the data directory.
    ///
    /// # Errors
    /// If they do not come up.
    pub async fn on_sqlite(config: &str) -> anyhow::Result<Self> {
        Self::of(&["planner"], &["gateway"], Rows::in_data_dir(), config).await
    }

    /// Two planners on one PostgreSQL and one directory of objects, and two gateways. `config` is TOML of the
    /// planners, e.g. `[lease]`.
    ///
    /// # Errors
    /// If they do not come up, or there is no PostgreSQL.
    pub async fn replicated(config: &str) -> anyhow::Result<Self> {
        let rows = Rows::in_postgres()?;
        Self::of(&["planner-0", "planner-1"], &["gateway-0", "gateway-1"], rows, config).await
    }

    async fn of(planners: &[&str], gateways: &[&str], rows: Rows, config: &str) -> anyhow::Result<Self> {
        let configs = Configs { planner: places(&rows) + config, ..Configs::default() };
        Self::in_directory(tempfile::tempdir()?, planners, gateways, rows, configs).await
    }

    /// Roles with these configurations, whose files are in `directory`.
    pub(crate) async fn in_directory(
        directory: TempDir,
        planners: &[&str],
        gateways: &[&str],
        rows: Rows,
        Configs { planner: config, gateway, executor: executors }: Configs,
    ) -> anyhow::Result<Self> {
        let mut started = Vec::new();
        for name in planners {
            started.push(Planner::start(&directory, name, "127.0.0.1:0", &config).await?);
        }
        let urls = urls(&started);
        let mut serving = Vec::new();
        for (index, name) in gateways.iter().enumerate() {
            // Each begins at another one.
            let mut urls = urls.clone();
            urls.rotate_left(index % planners.len());
            serving.push(Gateway::start(&directory, name, &urls, &gateway).await?);
        }
        let first = serving.first().context("no gateway")?;
        let (grpc, http) = (first.grpc.clone(), first.http.clone());
        Ok(Self { planners: started, gateways: serving, grpc, http, directory, rows, executors })
    }

    /// An executor for the Ollama at `engine`; `name` is that of its files. Returns once the
    /// planner knows it.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn executor(&self, name: &str, engine: &str, slots: usize) -> anyhow::Result<Process> {
        let engine = format!("{{kind = 'ollama', url = '{engine}', slots = {slots}}}");
        self.executor_with(name, &engine).await
    }

    /// An executor for `engines`, inline tables of TOML with commas between.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn executor_with(&self, name: &str, engines: &str) -> anyhow::Result<Process> {
        self.executor_at(name, engines, &urls(&self.planners)).await
    }

    /// The same, which knows `planners` alone.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn executor_at(
        &self,
        name: &str,
        engines: &str,
        planners: &[String],
    ) -> anyhow::Result<Process> {
        // Pauses are short, so that a test need not wait for the longest of them.
        let text = format!(
            "planner = {planners:?}\nhost = '{name}'\n\
             engines = [{engines}]\n\
             [limits]\nlongest_pause_millis = 300\n{}",
            self.executors
        );
        let (file, ready) = role(&self.directory, name, &text)?;
        let mut executor =
            Process::start("caravan-executor", name, self.directory.path(), args(&file, &ready))?;
        executor.ready(&ready).await?;
        Ok(executor)
    }

    /// As `kill -9` of the first planner.
    ///
    /// # Errors
    /// If it is gone already.
    pub async fn kill_planner(&mut self) -> anyhow::Result<()> {
        self.planner().kill().await
    }

    /// The first planner again, where it was and on what it left.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn start_planner(&mut self) -> anyhow::Result<()> {
        let Planner { name, address, config, .. } = &self.planners[0];
        self.planners[0] = Planner::start(&self.directory, name, address, config).await?;
        Ok(())
    }

    /// The first planner.
    pub fn planner(&mut self) -> &mut Process {
        self.planner_at(0)
    }

    /// One of the planners.
    ///
    /// # Panics
    /// If there are not as many.
    pub fn planner_at(&mut self, index: usize) -> &mut Process {
        &mut self.planners[index].process
    }

    /// The first gateway.
    pub fn gateway(&mut self) -> &mut Process {
        self.gateway_at(0)
    }

    /// One of the gateways.
    ///
    /// # Panics
    /// If there are not as many.
    pub fn gateway_at(&mut self, index: usize) -> &mut Process {
        &mut self.gateways[index].process
    }

    /// URLs of the gateways' gRPC servers.
    pub fn gateways(&self) -> impl Iterator<Item = &str> {
        self.gateways.iter().map(|gateway| gateway.grpc.as_str())
    }

    /// URLs of the planners.
    #[must_use]
    pub fn planner_urls(&self) -> Vec<String> {
        urls(&self.planners)
    }

    /// The database, if it is one on a server.
    #[must_use]
    pub fn database(&self) -> Option<&Database> {
        self.rows.database()
    }

    /// Where the planner keeps its state.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// URL of the first planner.
    #[must_use]
    pub fn planner_url(&self) -> String {
        self.planner_urls().swap_remove(0)
    }

    /// The client commands against the gateway.
    #[must_use]
    pub fn caravan(&self) -> Caravan {
        Caravan::new(&self.grpc)
    }

    /// The gateway's gRPC services.
    ///
    /// # Errors
    /// If the address is none.
    pub fn api(&self) -> anyhow::Result<Api> {
        Api::new(&self.grpc)
    }
}

// === impl Planner ===

impl Planner {
    async fn start(directory: &TempDir, name: &str, address: &str, config: &str) -> anyhow::Result<Self> {
        let data = directory.path().join("data");
        let text = format!("listen = '{address}'\ndata_dir = '{}'\n{config}", data.display());
        let (file, ready) = role(directory, name, &text)?;
        let mut process = Process::start("caravan-planner", name, directory.path(), args(&file, &ready))?;
        let url = process.ready(&ready).await?["grpc"].as_str().context("no address")?.to_owned();
        let address = url.strip_prefix("http://").context("no address")?.to_owned();
        Ok(Self { name: name.to_owned(), process, address, config: config.to_owned() })
    }
}

// === impl Gateway ===

impl Gateway {
    async fn start(
        directory: &TempDir,
        name: &str,
        planners: &[String],
        config: &str,
    ) -> anyhow::Result<Self> {
        let text =
            format!("listen = '127.0.0.1:0'\nhttp_listen = '127.0.0.1:0'\nplanner = {planners:?}\n{config}");
        let (file, ready) = role(directory, name, &text)?;
        let mut process = Process::start("caravan-gateway", name, directory.path(), args(&file, &ready))?;
        let served = process.ready(&ready).await?;
        let served = |key: &str| served[key].as_str().map(str::to_owned).context("no address");
        Ok(Self { process, grpc: served("grpc")?, http: served("http")? })
    }
}

/// Where planners keep rows and objects, as keys of their configuration.
pub(crate) fn places(rows: &Rows) -> String {
    rows.url().map(|url| format!("store_url = '{url}'\n")).unwrap_or_default() + &objects::fresh("")
}

fn urls(planners: &[Planner]) -> Vec<String> {
    planners.iter().map(|planner| format!("http://{}", planner.address)).collect()
}

/// Writes the configuration of a role; gives its path and that of the ready file.
fn role(directory: &TempDir, name: &str, config: &str) -> anyhow::Result<(PathBuf, PathBuf)> {
    let file = directory.path().join(format!("{name}.toml"));
    std::fs::write(&file, config)?;
    Ok((file, directory.path().join(format!("{name}.ready"))))
}

fn args<'a>(config: &'a std::path::Path, ready: &'a std::path::Path) -> [&'a std::ffi::OsStr; 4] {
    ["--config".as_ref(), config.as_os_str(), "--ready-file".as_ref(), ready.as_os_str()]
}
