use std::fmt::Write as _;

use anyhow::Context as _;
use tempfile::TempDir;

use crate::{Api, Caravan, Process, objects, rows::Rows};

/// `caravan up` on a data directory of its own.
#[derive(Debug)]
pub struct Up {
    process: Process,
    /// URL of the gRPC server.
    pub grpc: String,
    /// URL of the HTTP server.
    pub http: String,
    _directory: TempDir,
    _rows: Rows,
}

// === impl Up ===

impl Up {
    /// All roles on the Ollamas at `engines`. `config` is TOML behind the fixed keys, e.g.
    /// `[roles.planner.lease]`.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn start(engines: &[&str], slots: usize, config: &str) -> anyhow::Result<Self> {
        let engines =
            engines.iter().map(|url| format!("{{kind = 'ollama', url = '{url}', slots = {slots}}}"));
        Self::with(&engines.collect::<Vec<_>>().join(", "), config).await
    }

    /// All roles on `engines`, inline tables of TOML with commas between.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn with(engines: &str, config: &str) -> anyhow::Result<Self> {
        let (directory, rows) = (tempfile::tempdir()?, Rows::fresh()?);
        let mut text = String::from("listen = '127.0.0.1:0'\nhttp_listen = '127.0.0.1:0'\n");
        writeln!(text, "data_dir = '{}'", directory.path().join("data").display())?;
        if let Some(url) = rows.url() {
            writeln!(text, "roles.planner.store_url = '{url}'")?;
        }
        text += &objects::fresh("roles.planner.");
        writeln!(text, "engines = [{engines}]\n{config}")?;
        let (file, ready) = (directory.path().join("up.toml"), directory.path().join("ready.json"));
        std::fs::write(&file, text)?;
        let args =
            ["up".as_ref(), "--config".as_ref(), file.as_os_str(), "--ready-file".as_ref(), ready.as_ref()];
        let mut process = Process::start("caravan", "up", directory.path(), args)?;
        let addresses = process.ready(&ready).await?;
        let url = |key: &str| addresses[key].as_str().map(str::to_owned).context("no address");
        Ok(Self { process, grpc: url("grpc")?, http: url("http")?, _directory: directory, _rows: rows })
    }

    /// The client commands against it.
    #[must_use]
    pub fn caravan(&self) -> Caravan {
        Caravan::new(&self.grpc)
    }

    /// Its gRPC services.
    ///
    /// # Errors
    /// If the address is none.
    pub fn api(&self) -> anyhow::Result<Api> {
        Api::new(&self.grpc)
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
