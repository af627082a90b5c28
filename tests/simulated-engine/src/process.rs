//! The engine as a process: a runtime of its own, so that its death cuts every connection at once.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api;
use crate::engine::{Engine, new_engine};
use crate::fault::Faults;
use crate::options::Options;
use crate::stats::Snapshot;

/// Starts simulated engines.
#[derive(Debug)]
pub struct SimulatedEngine;

/// A simulated engine that serves until it is stopped or dropped.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    runner: Option<SocketAddr>,
    engine: Arc<Engine>,
}

/// What dies when the process dies.
#[derive(Debug)]
pub(crate) struct Process {
    alive: Mutex<Option<(Runtime, JoinSet<()>)>>,
    dead: CancellationToken,
}

// === impl SimulatedEngine ===

impl SimulatedEngine {
    /// Binds `options.listen` and serves on threads of its own. It answers as soon as this returns.
    ///
    /// # Errors
    /// The address cannot be bound, the file of its answers not opened, or no thread started.
    pub fn start(options: Options) -> io::Result<Running> {
        let (listener, address) = bind(options.listen)?;
        let runner = options.runner_listen.map(bind).transpose()?;
        let runner_address = runner.as_ref().map(|(_, address)| *address);
        let runtime = Builder::new_multi_thread()
            .worker_threads(options.threads.max(1))
            .thread_name("simulated-engine")
            .enable_all()
            .build()?;
        let process = Arc::new(Process { alive: Mutex::default(), dead: CancellationToken::new() });
        let engine = Arc::new(new_engine(options, process.clone())?);
        let mut tasks = JoinSet::new();
        {
            let _inside = runtime.enter();
            tasks.spawn(serve(TcpListener::from_std(listener)?, api::router(engine.clone())));
            if let Some((listener, _)) = runner {
                tasks.spawn(serve(TcpListener::from_std(listener)?, api::runner_router(engine.clone())));
            }
        }
        process.lock().replace((runtime, tasks));
        Ok(Running { address, runner: runner_address, engine })
    }
}

/// Listens, and says where.
fn bind(address: SocketAddr) -> io::Result<(std::net::TcpListener, SocketAddr)> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

async fn serve(listener: TcpListener, router: Router) {
    let listener = listener.tap_io(|connection| {
        // Without it a small answer may wait for an acknowledgement; a failure only costs time.
        let _ = connection.set_nodelay(true);
    });
    let _ = axum::serve(listener, router).await;
}

// === impl Running ===

impl Running {
    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where the runner tells of itself, if it does: `http://127.0.0.1:PORT`.
    pub fn runner_url(&self) -> Option<String> {
        self.runner.map(|address| format!("http://{address}"))
    }

    /// Where it listens; give it to `Options::listen` to start another one in its place.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it counted so far.
    pub fn stats(&self) -> Snapshot {
        self.engine.stats.snapshot()
    }

    /// Counts from nothing again, and ends all faults. The loaded model stays, and so do the caches.
    pub fn reset(&self) {
        self.engine.stats.reset();
        self.engine.faults.clear();
    }

    /// The faults in force, to add to them.
    pub fn faults(&self) -> Faults {
        self.engine.faults.clone()
    }

    /// Kills the runner, whatever it does: as `Fault::Crash`, from outside.
    pub fn crash(&self) {
        self.engine.scheduler.crash();
    }

    /// Stops the runner in the middle of whatever it does, as SIGSTOP would: the API still answers.
    /// A runner that takes its place runs.
    pub fn freeze(&self) {
        self.engine.scheduler.freeze(true);
    }

    /// Lets a frozen runner go on.
    pub fn thaw(&self) {
        self.engine.scheduler.freeze(false);
    }

    /// An eviction that never ends: the runner goes when it is idle, and whoever comes waits for ever
    /// for the next one, until `release` or another process. The API still answers.
    pub fn deadlock(&self) {
        self.engine.scheduler.deadlock(true);
    }

    /// Ends a deadlock.
    pub fn release(&self) {
        self.engine.scheduler.deadlock(false);
    }

    /// Stops as a killed process does: connections are cut, nothing is answered.
    pub fn stop(&self) {
        self.engine.process.die();
    }

    /// Returns when it was stopped, or died of a fault.
    pub async fn stopped(&self) {
        self.engine.process.dead.cancelled().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

// === impl Process ===

impl Process {
    /// Ends everything at once, from whichever thread.
    pub(crate) fn die(&self) {
        let alive = self.lock().take();
        if let Some((runtime, mut tasks)) = alive {
            tasks.abort_all();
            runtime.shutdown_background();
        }
        self.dead.cancel();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Runtime, JoinSet<()>)>> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
