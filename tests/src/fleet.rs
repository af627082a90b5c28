use std::path::PathBuf;

use anyhow::Context as _;
use tempfile::TempDir;

use crate::{Api, Caravan, Process, rows::Rows};

/// Planner, gateway and executors as processes of their own.
#[derive(Debug)]
pub struct Fleet {
    planner: Process,
    /// `HOST:PORT` of the planner, the same in every life of it.
    address: String,
    gateway: Process,
    /// URL of the gateway's gRPC server.
    pub grpc: String,
    /// URL of the gateway's HTTP server.
    pub http: String,
    config: String,
    directory: TempDir,
    _rows: Rows,
}

// === impl Fleet ===

impl Fleet {
    /// A planner and a gateway. `config` is TOML of the planner, e.g. `[lease]`.
    ///
    /// # Errors
    /// If they do not come up.
    pub async fn start(config: &str) -> anyhow::Result<Self> {
        let (directory, rows) = (tempfile::tempdir()?, Rows::fresh()?);
        let store = rows.url().map(|url| format!("store_url = '{url}'\n")).unwrap_or_default();
        let config = store + config;
        let (planner, url) = planner(&directory, "127.0.0.1:0", &config).await?;
        let address = url.strip_prefix("http://").context("no address")?.to_owned();
        let text = format!("listen = '127.0.0.1:0'\nhttp_listen = '127.0.0.1:0'\nplanner = ['{url}']\n");
        let (file, ready) = role(&directory, "gateway", &text)?;
        let mut gateway =
            Process::start("caravan-gateway", "gateway", directory.path(), args(&file, &ready))?;
        let served = gateway.ready(&ready).await?;
        let served = |key: &str| served[key].as_str().map(str::to_owned).context("no address");
        let (grpc, http) = (served("grpc")?, served("http")?);
        Ok(Self { planner, address, gateway, grpc, http, config, directory, _rows: rows })
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
        // Pauses are short, so that a test need not wait for the longest of them.
        let text = format!(
            "planner = ['{}']\nhost = '{name}'\n\
             engines = [{engines}]\n\
             [limits]\nlongest_pause_millis = 300\n",
            self.planner_url()
        );
        let (file, ready) = role(&self.directory, name, &text)?;
        let mut executor =
            Process::start("caravan-executor", name, self.directory.path(), args(&file, &ready))?;
        executor.ready(&ready).await?;
        Ok(executor)
    }

    /// As `kill -9` of the planner.
    ///
    /// # Errors
    /// If it is gone already.
    pub async fn kill_planner(&mut self) -> anyhow::Result<()> {
        self.planner.kill().await
    }

    /// The planner again, where it was and on what it left.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn start_planner(&mut self) -> anyhow::Result<()> {
        (self.planner, _) = planner(&self.directory, &self.address, &self.config).await?;
        Ok(())
    }

    /// The planner.
    pub fn planner(&mut self) -> &mut Process {
        &mut self.planner
    }

    /// The gateway.
    pub fn gateway(&mut self) -> &mut Process {
        &mut self.gateway
    }

    /// Where the planner keeps its state.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// URL of the planner.
    #[must_use]
    pub fn planner_url(&self) -> String {
        format!("http://{}", self.address)
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

async fn planner(directory: &TempDir, address: &str, config: &str) -> anyhow::Result<(Process, String)> {
    let data = directory.path().join("data");
    let text = format!("listen = '{address}'\ndata_dir = '{}'\n{config}", data.display());
    let (file, ready) = role(directory, "planner", &text)?;
    let mut process = Process::start("caravan-planner", "planner", directory.path(), args(&file, &ready))?;
    let url = process.ready(&ready).await?["grpc"].as_str().context("no address")?.to_owned();
    Ok((process, url))
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
