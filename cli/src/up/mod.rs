//! All roles in one process. They talk as they do in a fleet: over gRPC, on loopback.

mod engine;
mod options;
mod role;

use std::time::Duration;

use caravan_service::{Shutdown, explain, ready::Ready};
use url::Url;

pub(crate) use self::{
    engine::{ollama, parse as parse_engine},
    options::Options,
};
use self::{options::RoleOptions, role::Role};
use crate::{failure::Failure, stderr};

/// All roles, built: ports are bound and the data directory is taken.
pub(crate) struct Roles {
    planner: caravan_planner::Service,
    executor: caravan_executor::Service,
    gateway: caravan_gateway::Service,
    drain: Duration,
}

// === impl Roles ===

impl Roles {
    /// Builds the planner first: it holds the lock of the data directory.
    pub(crate) async fn build(options: Options) -> Result<Self, Failure> {
        let drain = Duration::from_secs(options.drain_seconds);
        let RoleOptions { planner, executor, gateway } = options.of_roles();
        let planner = planner.build().await.map_err(misconfigured)?;
        let at = vec![Url::parse(&planner.url()).map_err(misconfigured)?];
        let gateway = caravan_gateway::Options { planner: at.clone(), ..gateway };
        let gateway = gateway.build().await.map_err(misconfigured)?;
        let executor = caravan_executor::Options { planner: at, ..executor };
        let executor = executor.build().await.map_err(misconfigured)?;
        Ok(Self { planner, executor, gateway, drain })
    }

    /// Where the gateway serves.
    pub(crate) fn addresses(&self) -> &Ready {
        self.gateway.addresses()
    }

    /// Runs all roles until `process` is told to stop or one of them ends; then the
    /// executor drains, then the gateway, then the planner, all within the drain limit.
    pub(crate) async fn run(self, process: Shutdown) -> Result<(), Failure> {
        let Self { planner, executor, gateway, drain } = self;
        let mut planner = Role::start("planner", drain / 8, |stop| planner.run(stop));
        let mut gateway = Role::start("gateway", drain / 8, |stop| gateway.run(stop));
        // Half of the time is for requests that run; beyond it the executor waits for last acks.
        let mut executor = Role::start("executor", drain / 2, |stop| executor.run(stop));
        let ended = tokio::select! {
            () = process.cancelled() => None,
            failure = planner.ended() => Some(failure),
            failure = gateway.ended() => Some(failure),
            failure = executor.ended() => Some(failure),
        };
        process.trigger();
        let in_order = async {
            let results = [executor.stop().await, gateway.stop().await, planner.stop().await];
            results.into_iter().collect::<Result<(), _>>()
        };
        let stopped = tokio::select! {
            stopped = in_order => stopped,
            () = process.expired() => {
                stderr::note("stopped before every role had ended: what was in flight runs again");
                Ok(())
            }
        };
        ended.map_or(stopped, Err)
    }
}

/// What cannot be built is not to be had as configured: a directory, a port, a URL.
pub(crate) fn misconfigured(error: impl std::error::Error) -> Failure {
    Failure::Configuration(explain(&error))
}
