//! Managed engines: the executor starts them, keeps them alive, and stops them.
//!
//! - `expand` makes one engine of each GPU, each with an address of its own.
//! - `command` and `launch` say how a program is called, `running` is one that runs, `output` keeps
//!   what it writes, and `mark` finds what an executor that was killed has left behind.
//! - `supervisor` starts it again whenever it ends, `managed` is what others see and ask of it.
//! - `supervised` is its driver, which knows why its process died (`death`): a kill from outside
//!   counts against no request.

mod command;
mod death;
mod expand;
mod growth;
mod launch;
mod managed;
mod mark;
mod options;
mod output;
mod program;
mod running;
mod supervised;
mod supervisor;

use std::{io, path::PathBuf, process::ExitStatus, time::Duration};

pub(crate) use expand::expand;
pub(crate) use launch::Launch;
pub(crate) use managed::Managed;
pub use options::{Gpus, ManagedOptions};
pub(crate) use program::Program;
pub(crate) use running::Running;
pub(crate) use supervised::Supervised;
pub(crate) use supervisor::Supervisor;

/// Why a managed engine does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its profile cannot be read.
    #[error("profile {} cannot be read: {why}", path.display())]
    Profile {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// There is no port to listen on.
    #[error("no free port for engine {0}: {1}")]
    Port(usize, #[source] io::Error),
    /// An engine for each GPU was asked for, and they cannot be told.
    #[error("engines[{place}].managed.gpus is `all`, and GPUs cannot be listed: {why}")]
    Gpus {
        /// The entry.
        place: usize,
        /// Why.
        why: String,
    },
    /// The system does not start the program.
    #[error("{program} cannot be started: {source}")]
    Spawn {
        /// As configured.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its log cannot be written.
    #[error("log {} cannot be written: {source}", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It ended before its API answered.
    #[error("it ended before it answered ({status}); the end of what it wrote: {written}")]
    Ended {
        /// How.
        status: ExitStatus,
        /// Its last lines.
        written: String,
    },
    /// Its API did not answer in time.
    #[error("it did not answer within {0:?}: {1}")]
    Silent(Duration, String),
    /// Another program listens where it should.
    #[error("port {port} is taken by process {pid}, which the executor did not start")]
    Taken {
        /// The port.
        port: u16,
        /// Who listens.
        pid: u32,
    },
    /// It does not end, or cannot be signalled.
    #[error("it cannot be stopped: {0}")]
    Stop(#[source] io::Error),
}
