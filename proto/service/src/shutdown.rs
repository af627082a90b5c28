//! How a process stops: one handle, told once, that everybody who waits can see.

use std::{
    io,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// Default of a role's `drain_seconds`: what container runtimes allow before they kill (10 s),
/// less the time to write a last state.
pub const DEFAULT_DRAIN: Duration = Duration::from_secs(8);

/// A cheap clone of one process-wide wish to stop. From the trigger on, `drain_limit`
/// may pass until whatever still runs is cut off; a second signal cuts it off at once.
#[derive(Debug, Clone)]
pub struct Shutdown {
    stop: CancellationToken,
    cut: CancellationToken,
    since: Arc<OnceLock<Instant>>,
    drain_limit: Duration,
    signals: Arc<Mutex<JoinSet<()>>>,
}

impl Shutdown {
    /// A handle that only [`trigger`](Self::trigger) sets off.
    #[must_use]
    pub fn new(drain_limit: Duration) -> Self {
        Self {
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
            since: Arc::default(),
            drain_limit,
            signals: Arc::default(),
        }
    }

    /// A handle that SIGTERM and SIGINT set off too.
    ///
    /// # Errors
    /// If the handlers cannot be installed.
    pub fn on_signals(drain_limit: Duration) -> io::Result<Self> {
        let shutdown = Self::new(drain_limit);
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        // Without anything to read anew it means nothing; unheard, it would end the process.
        let _heard = signal(SignalKind::hangup())?;
        // Its own copy must not own the task, or neither would ever be dropped.
        let told = Self { signals: Arc::default(), ..shutdown.clone() };
        let wait = async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                if told.is_triggered() {
                    told.cut.cancel();
                }
                tracing::info!(drain_seconds = told.drain_limit.as_secs_f64(), "asked to stop");
                told.trigger();
            }
        };
        shutdown.signals.lock().unwrap_or_else(PoisonError::into_inner).spawn(wait);
        Ok(shutdown)
    }

    /// Sets it off. Again is no harm.
    pub fn trigger(&self) {
        self.since.get_or_init(Instant::now);
        self.stop.cancel();
    }

    /// Whether it was set off.
    #[must_use]
    pub fn is_triggered(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits until it is set off: take no new work.
    pub async fn cancelled(&self) {
        self.stop.cancelled().await;
    }

    /// Waits until it was set off and the drain limit has passed: drop what still runs.
    pub async fn expired(&self) {
        self.stop.cancelled().await;
        let since = *self.since.get_or_init(Instant::now);
        tokio::select! {
            () = sleep_until(since + self.drain_limit) => {}
            () = self.cut.cancelled() => {}
        }
    }

    /// How long draining may take.
    #[must_use]
    pub fn drain_limit(&self) -> Duration {
        self.drain_limit
    }

    /// The token behind it, for what takes one.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.stop.clone()
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new(DEFAULT_DRAIN)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn the_drain_limit_runs_from_the_trigger() {
        let limit = Duration::from_millis(20);
        let shutdown = Shutdown::new(limit);
        assert!(!shutdown.is_triggered());
        let began = Instant::now();
        shutdown.clone().trigger();
        shutdown.cancelled().now_or_never().expect("set off");
        shutdown.expired().await;
        assert!(began.elapsed() >= limit, "expired after {:?}", began.elapsed());
        shutdown.expired().now_or_never().expect("a late waiter does not start the clock again");
    }
}
