use std::path::PathBuf;

use caravan_executor::EngineOptions;
use caravan_service::{
    config::{self, Section},
    shutdown, telemetry,
};
use serde::{Deserialize, Serialize};

/// Configuration of `caravan up`; keys as in its TOML file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Options {
    /// `HOST:PORT` of the gRPC server; port 0 for any free one.
    pub(crate) listen: String,
    /// `HOST:PORT` of the HTTP server; port 0 for any free one.
    pub(crate) http_listen: String,
    /// Where all state is kept.
    pub(crate) data_dir: PathBuf,
    /// From the wish to stop to the end of the process, at most, in seconds.
    pub(crate) drain_seconds: u64,
    /// The engines of this host; none: the Ollama of this host.
    pub(crate) engines: Vec<EngineOptions>,
    /// Lines on stderr, traces and metrics, of all roles.
    pub(crate) telemetry: telemetry::Options,
    /// Everything else of each role. Addresses, planner, engines, data directory, drain
    /// and telemetry are those above.
    pub(crate) roles: RoleOptions,
}

/// The roles' own configurations.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RoleOptions {
    pub(crate) planner: caravan_planner::Options,
    pub(crate) executor: caravan_executor::Options,
    pub(crate) gateway: caravan_gateway::Options,
}

/// Where each role's options stand, and which of its keys stand at the top instead.
const PLANNER: Section = Section::new("roles.planner", &["data_dir", "telemetry"]);
const GATEWAY: Section = Section::new("roles.gateway", &["listen", "http_listen", "telemetry"]);
const EXECUTOR: Section = Section::new("roles.executor", &["engines", "telemetry"]);

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        let gateway = caravan_gateway::Options::default();
        Self {
            listen: gateway.listen,
            http_listen: gateway.http_listen,
            data_dir: caravan_planner::Options::default().data_dir,
            drain_seconds: shutdown::DEFAULT_DRAIN.as_secs(),
            engines: Vec::new(),
            telemetry: telemetry::Options::default(),
            roles: RoleOptions::default(),
        }
    }
}

impl Options {
    /// What can be found wrong before a port or a directory is taken.
    ///
    /// # Errors
    /// As the roles', with the key where it stands here.
    pub(crate) fn check(&self) -> Result<(), config::Error> {
        let RoleOptions { planner, executor, gateway } = self.clone().of_roles();
        planner.check(PLANNER)?;
        gateway.check(GATEWAY)?;
        executor.check(EXECUTOR)
    }

    /// What each role is run with, but for the planner's address, which it has once it has its port.
    pub(crate) fn of_roles(self) -> RoleOptions {
        let Self { listen, http_listen, data_dir, drain_seconds: _, engines, telemetry, roles } = self;
        RoleOptions {
            planner: caravan_planner::Options {
                // A port of its own, that nobody else needs to know.
                listen: "127.0.0.1:0".to_owned(),
                data_dir,
                telemetry: telemetry.clone(),
                ..roles.planner
            },
            gateway: caravan_gateway::Options {
                listen,
                http_listen,
                planner: caravan_gateway::Options::default().planner,
                telemetry: telemetry.clone(),
                ..roles.gateway
            },
            executor: caravan_executor::Options {
                planner: caravan_executor::Options::default().planner,
                engines,
                ready_file: None,
                telemetry,
                ..roles.executor
            },
        }
    }
}
