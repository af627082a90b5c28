//! Keeps a managed engine alive for as long as the executor lives.

use std::{pin::pin, process::ExitStatus, sync::Arc, time::Duration};

use tokio::{
    sync::RwLockWriteGuard,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    Launch, Managed, ManagedOptions, Running,
    death::{Cause, out_of_memory_kills},
    growth::Growth,
    managed::Demand,
};
use crate::{backoff::Backoff, ledger::Ledger, metrics, options::Limits, processes, unit::Unit};

/// Starts an engine, waits for its end or for a demand to start it anew, and does so, with growing
/// pauses while its lives are short. It never gives up: what keeps it from starting may pass.
#[derive(Debug)]
pub(crate) struct Supervisor {
    unit: Arc<Unit>,
    managed: Arc<Managed>,
    ledger: Arc<Ledger>,
    pauses: Backoff,
    /// A life that was as long begins the pauses anew.
    steady: Duration,
    /// The kernel's count of processes killed for want of memory, as it was last.
    kills: Option<i64>,
}

/// Keeps all others from sending requests, where that was waited for.
type Hold<'a> = Option<RwLockWriteGuard<'a, ()>>;

/// How a life ended.
enum End<'a> {
    Exited(ExitStatus),
    Demanded(Demand, Hold<'a>),
    Stopped,
}

// === impl Supervisor ===

impl Supervisor {
    /// Of `unit`; none if it is not managed.
    pub(crate) fn new(unit: &Arc<Unit>, ledger: &Arc<Ledger>, limits: &Limits) -> Option<Self> {
        Some(Self {
            unit: Arc::clone(unit),
            managed: Arc::clone(unit.managed.as_ref()?),
            ledger: Arc::clone(ledger),
            pauses: Backoff::new(limits.first_pause(), limits.longest_pause()),
            steady: limits.longest_pause(),
            kills: None,
        })
    }

    /// Works until `stop`, then stops the engine. Whoever drops this before kills it.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let managed = Arc::clone(&self.managed);
        while !stop.is_cancelled() {
            let launch = managed.begin();
            let started = tokio::select! {
                () = stop.cancelled() => return,
                _ = managed.demanded(false) => continue,
                started = managed.start(&launch) => started,
            };
            let pause = match started {
                Ok(running) => self.live(running, &launch, &stop).await,
                Err(error) => {
                    tracing::warn!(engine = &*self.unit.id, %error, "engine does not start");
                    metrics::engine_started(false);
                    managed.failed(&error);
                    self.pauses.pause()
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(pause) => {}
            }
        }
    }

    /// One life, to its end. Gives how long to wait before the next.
    async fn live(&mut self, mut running: Running, launch: &Launch, stop: &CancellationToken) -> Duration {
        let (unit, born) = (Arc::clone(&self.unit), Instant::now());
        tracing::info!(engine = &*unit.id, pid = running.pid(), url = %running.url(), ?launch, "engine started");
        metrics::engine_started(true);
        self.managed.began(launch);
        unit.look_again();
        let end = self.until_it_ends(&unit, &mut running, stop).await;
        let (cause, why, hold) = match end {
            End::Exited(status) => (self.cause(status), format!("it ended ({status})"), None),
            End::Demanded(demand, hold) => (Cause::Asked, demand.why, hold),
            End::Stopped => (Cause::Asked, "the executor stops".to_owned(), None),
        };
        tracing::info!(engine = &*unit.id, ?cause, why, "engine ends");
        self.managed.ends(cause, &why);
        metrics::engine_ended(cause.name());
        unit.gone(&self.ledger, &why);
        // Who goes on finds it down, and waits.
        drop(hold);
        if cause == Cause::Asked {
            if let Err(error) = running.stop().await {
                tracing::warn!(engine = &*unit.id, %error, "engine not stopped");
            }
            return Duration::ZERO;
        }
        if born.elapsed() > self.steady {
            self.pauses.reset();
        }
        self.pauses.pause()
    }

    async fn until_it_ends<'u>(
        &mut self,
        unit: &'u Unit,
        running: &mut Running,
        stop: &CancellationToken,
    ) -> End<'u> {
        let managed = Arc::clone(&self.managed);
        // One future for all turns: it keeps its place before the gate.
        let mut demanded = pin!(demanded(&managed, unit));
        let ManagedOptions { memory_growth_bytes, memory_settle_seconds, look_seconds, .. } =
            managed.options();
        let settles_in = Duration::from_secs(*memory_settle_seconds);
        let mut growth = Growth::new(*memory_growth_bytes, settles_in, Instant::now());
        let mut looks = interval(Duration::from_secs(*look_seconds));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                status = running.exited() => return End::Exited(status),
                (demand, hold) = &mut demanded => return End::Demanded(demand, hold),
                () = stop.cancelled() => return End::Stopped,
                _ = looks.tick() => {
                    self.kills = out_of_memory_kills();
                    self.look_at_memory(&mut growth, running.pid()).await;
                }
            }
        }
    }

    /// The cause of an end that nobody here has asked for.
    fn cause(&self, status: ExitStatus) -> Cause {
        let kills = self.kills.zip(out_of_memory_kills());
        Cause::of(status, kills.map(|(before, now)| now > before))
    }

    /// Has the engine started anew if it takes too much memory.
    async fn look_at_memory(&self, growth: &mut Growth, pid: u32) {
        let read = tokio::task::spawn_blocking(move || processes::resident(&processes::tree(pid)));
        let Ok(Some(bytes)) = read.await else { return };
        if let Some(grown) = growth.over(Instant::now(), self.unit.gate.loads(), bytes) {
            let why = format!("its processes took {} MiB more host memory than after its load", grown >> 20);
            self.managed.restart(self.managed.launch(), &why);
        }
    }
}

/// Waits for a demand, and unless it is for at once, until no request is in flight.
async fn demanded<'u>(managed: &Managed, unit: &'u Unit) -> (Demand, Hold<'u>) {
    let demand = managed.demanded(false).await;
    if demand.at_once {
        return (demand, None);
    }
    tokio::select! {
        alone = unit.gate.quiet() => (demand, Some(alone)),
        demand = managed.demanded(true) => (demand, None),
    }
}
