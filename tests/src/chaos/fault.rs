//! What can go wrong, and where; drawn from a seed.

use std::{fmt, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

use super::{
    link::Weather,
    options::{Objects, Options, Store},
};

/// A process, by its role and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Seat {
    Planner(usize),
    Gateway(usize),
    Executor(usize),
    Engine(usize),
    /// PostgreSQL.
    Database,
    /// S3.
    Objects,
}

/// A connection between two of them, from who dials to who is dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wire {
    ClientGateway(usize),
    GatewayPlanner(usize, usize),
    ExecutorPlanner(usize, usize),
    ExecutorEngine(usize),
    PlannerDatabase(usize),
    PlannerObjects(usize),
}

/// What an engine does to requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Its runner dies.
    Crash,
    /// One request is never answered.
    Hang,
    /// The runner stands still; the engine still says that it is there.
    Freeze,
    /// So many requests are refused with 503.
    Busy(u64),
    /// So many answers are broken off without a word.
    DoneFalse(u64),
    /// So many answers end in the middle of their bytes.
    Disconnect(u64),
}

/// What is done to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// `kill -9`, and started again after a while.
    Kill,
    /// SIGSTOP, and SIGCONT after a while.
    Stop,
    /// SIGTERM, and started again once it has ended.
    Drain,
    /// Its clock is wrong by so many seconds, and right again after a while.
    Jump(i64),
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Process(Seat, Deed),
    Wire(Wire, Weather),
    Engine(usize, Trouble),
    /// No byte is free where planners write.
    Disk,
    /// The network of the executor with this number is gone.
    Network(usize),
}

/// What this machine lets the harness do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Means {
    pub(super) disk: bool,
    pub(super) network: bool,
    pub(super) clock: bool,
}

/// The executor that has a network of its own.
pub(super) const APART: usize = 0;
/// A clock jumps by so many seconds.
const JUMPS: [i64; 4] = [3_600, -3_600, 45, -45];
/// By which a lease is dated jumps only so far: if its holder dies while the clock is ahead, the lease lives
/// until the clock is there again.
const SMALL_JUMPS: [i64; 2] = [45, -45];

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) what: What,
    /// How long it holds.
    pub(super) time: Duration,
}

/// Which fault to draw next: dealt like cards, so that every kind comes before one comes again.
#[derive(Debug, Clone, Copy)]
enum Card {
    Process(Deed),
    Wire(Weather),
    Engine,
    Jump,
    Disk,
    Network,
}

/// Kills weigh most: they are what a fleet sees most.
const DECK: [Card; 16] = [
    Card::Process(Deed::Kill),
    Card::Process(Deed::Kill),
    Card::Process(Deed::Kill),
    Card::Process(Deed::Stop),
    Card::Process(Deed::Stop),
    Card::Process(Deed::Drain),
    Card::Wire(Weather::Cut),
    Card::Wire(Weather::Cut),
    Card::Wire(Weather::Silent),
    Card::Wire(Weather::Late(Duration::from_millis(50))),
    // So slow that a batch's input takes seconds.
    Card::Wire(Weather::Slow(100_000)),
    Card::Engine,
    Card::Engine,
    Card::Jump,
    Card::Disk,
    Card::Network,
];

/// The faults of a run, in order: the same ones for the same seed where a machine lets the same be done.
pub(super) fn schedule(options: &Options, means: Means) -> Vec<Fault> {
    let mut random = StdRng::seed_from_u64(options.seed);
    let mut deck = Vec::new();
    let mut faults = Vec::with_capacity(options.faults);
    while faults.len() < options.faults {
        if deck.is_empty() {
            deck.extend(DECK.into_iter().filter(|card| match card {
                Card::Jump => means.clock,
                Card::Disk => means.disk,
                Card::Network => means.network,
                Card::Process(_) | Card::Wire(_) | Card::Engine => true,
            }));
            deck.shuffle(&mut random);
        }
        faults.extend(deck.pop().map(|card| draw(card, options, &mut random)));
    }
    faults
}

fn draw(card: Card, options: &Options, random: &mut StdRng) -> Fault {
    let what = match card {
        Card::Process(deed) => What::Process(seat(options, random), deed),
        Card::Wire(weather) => What::Wire(wire(options, random), weather),
        Card::Engine => What::Engine(random.random_range(0..options.engines), trouble(random)),
        Card::Jump => {
            let seat = role(options, random.random_range(0..3), random);
            let dates = matches!(seat, Seat::Planner(_)) && options.store == Store::Sqlite;
            let jumps: &[i64] = if dates { &SMALL_JUMPS } else { &JUMPS };
            What::Process(seat, Deed::Jump(jumps[random.random_range(0..jumps.len())]))
        }
        Card::Disk => What::Disk,
        Card::Network => What::Network(APART),
    };
    // On both sides of a lease's life.
    Fault { what, time: options.ttl().mul_f64(random.random_range(0.2..1.4)) }
}

fn seat(options: &Options, random: &mut StdRng) -> Seat {
    let mut kinds = vec![0, 1, 2, 3];
    kinds.extend((options.store == Store::Postgres).then_some(4));
    kinds.extend((options.objects == Objects::S3).then_some(5));
    match kinds[random.random_range(0..kinds.len())] {
        3 => Seat::Engine(random.random_range(0..options.engines)),
        4 => Seat::Database,
        5 => Seat::Objects,
        kind => role(options, kind, random),
    }
}

/// One of Caravan's own processes.
fn role(options: &Options, kind: usize, random: &mut StdRng) -> Seat {
    let mut one = |of: usize| random.random_range(0..of);
    match kind {
        0 => Seat::Planner(one(options.planners())),
        1 => Seat::Gateway(one(options.gateways)),
        _ => Seat::Executor(one(options.executors)),
    }
}

fn wire(options: &Options, random: &mut StdRng) -> Wire {
    let mut kinds = vec![0, 1, 2, 3];
    kinds.extend((options.store == Store::Postgres).then_some(4));
    kinds.extend((options.objects == Objects::S3).then_some(5));
    let mut one = |of: usize| random.random_range(0..of);
    match kinds[one(kinds.len())] {
        0 => Wire::ClientGateway(one(options.gateways)),
        1 => Wire::GatewayPlanner(one(options.gateways), one(options.planners())),
        2 => Wire::ExecutorPlanner(one(options.executors), one(options.planners())),
        3 => Wire::ExecutorEngine(one(options.engines)),
        4 => Wire::PlannerDatabase(one(options.planners())),
        _ => Wire::PlannerObjects(one(options.planners())),
    }
}

fn trouble(random: &mut StdRng) -> Trouble {
    match random.random_range(0..6) {
        0 => Trouble::Crash,
        1 => Trouble::Hang,
        2 => Trouble::Freeze,
        3 => Trouble::Busy(random.random_range(1..20)),
        // Fewer than a request has tries: all may hit the same one.
        4 => Trouble::DoneFalse(random.random_range(1..3)),
        _ => Trouble::Disconnect(random.random_range(1..5)),
    }
}

// === impl Fault ===

impl Fault {
    /// Its kind, as the report counts it.
    pub(super) fn kind(&self) -> &'static str {
        match self.what {
            What::Process(_, Deed::Kill) => "kill -9",
            What::Process(_, Deed::Stop) => "SIGSTOP",
            What::Process(_, Deed::Drain) => "SIGTERM",
            What::Process(_, Deed::Jump(_)) => "clock jump",
            What::Wire(_, Weather::Silent) => "half-open",
            What::Wire(_, Weather::Late(_)) => "delay",
            What::Wire(_, Weather::Slow(_)) => "throttle",
            What::Wire(_, Weather::Cut | Weather::Clear) => "cut",
            What::Engine(_, Trouble::Crash) => "engine crash",
            What::Engine(_, Trouble::Hang | Trouble::Freeze) => "engine hang",
            What::Engine(_, Trouble::Busy(_)) => "engine 503",
            What::Engine(_, Trouble::DoneFalse(_)) => "engine done:false",
            What::Engine(_, Trouble::Disconnect(_)) => "engine torn answer",
            What::Disk => "disk full",
            What::Network(_) => "network gone",
        }
    }

    /// Where it strikes, as the report counts it.
    pub(super) fn place(&self) -> &'static str {
        match self.what {
            What::Process(seat, _) => seat.role(),
            What::Engine(..) => "engine",
            What::Network(_) => "executor",
            What::Disk => "planner",
            What::Wire(wire, _) => match wire {
                Wire::ClientGateway(_) => "client→gateway",
                Wire::GatewayPlanner(..) => "gateway→planner",
                Wire::ExecutorPlanner(..) => "executor→planner",
                Wire::ExecutorEngine(_) => "executor→engine",
                Wire::PlannerDatabase(_) => "planner→PostgreSQL",
                Wire::PlannerObjects(_) => "planner→S3",
            },
        }
    }
}

impl Seat {
    fn role(self) -> &'static str {
        match self {
            Self::Planner(_) => "planner",
            Self::Gateway(_) => "gateway",
            Self::Executor(_) => "executor",
            Self::Engine(_) => "engine",
            Self::Database => "PostgreSQL",
            Self::Objects => "S3",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.time.as_millis();
        match self.what {
            What::Process(seat, Deed::Drain) => write!(f, "{} {seat}", self.kind()),
            What::Process(seat, Deed::Jump(seconds)) => {
                write!(f, "clock of {seat} {seconds:+} s for {millis} ms")
            }
            What::Process(seat, _) => write!(f, "{} {seat} for {millis} ms", self.kind()),
            What::Wire(wire, _) => write!(f, "{} {wire} for {millis} ms", self.kind()),
            What::Engine(engine, Trouble::Freeze) => write!(f, "freeze engine-{engine} for {millis} ms"),
            What::Engine(engine, trouble) => write!(f, "engine-{engine} {trouble:?}"),
            What::Disk => write!(f, "{} for {millis} ms", self.kind()),
            What::Network(executor) => write!(f, "{} of executor-{executor} for {millis} ms", self.kind()),
        }
    }
}

impl fmt::Display for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Planner(number) | Self::Gateway(number) | Self::Executor(number) | Self::Engine(number) => {
                write!(f, "{}-{number}", self.role())
            }
            Self::Database | Self::Objects => f.write_str(self.role()),
        }
    }
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientGateway(gateway) => write!(f, "client→gateway-{gateway}"),
            Self::GatewayPlanner(gateway, planner) => write!(f, "gateway-{gateway}→planner-{planner}"),
            Self::ExecutorPlanner(executor, planner) => write!(f, "executor-{executor}→planner-{planner}"),
            Self::ExecutorEngine(engine) => write!(f, "executor→engine-{engine}"),
            Self::PlannerDatabase(planner) => write!(f, "planner-{planner}→PostgreSQL"),
            Self::PlannerObjects(planner) => write!(f, "planner-{planner}→S3"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Arguments {
        #[command(flatten)]
        options: Options,
    }

    fn faults(args: &[&str]) -> Vec<Fault> {
        let all = Means { disk: true, network: true, clock: true };
        schedule(&Arguments::parse_from(args).options, all)
    }

    #[test]
    fn a_seed_draws_the_same_faults_again_and_another_one_others() {
        assert_eq!(faults(&["", "--seed", "7"]), faults(&["", "--seed", "7"]));
        assert_ne!(faults(&["", "--seed", "7"]), faults(&["", "--seed", "8"]));
        assert_eq!(faults(&["", "--faults", "200"]).len(), 200);
    }

    #[test]
    fn every_kind_comes_in_a_long_run() {
        let faults = faults(&["", "--faults", "200", "--store", "postgres", "--objects", "s3"]);
        let kinds: BTreeSet<_> = faults.iter().map(Fault::kind).collect();
        assert_eq!(kinds.len(), 15, "{kinds:?}");
        let places: BTreeSet<_> = faults.iter().map(Fault::place).collect();
        assert_eq!(places.len(), 12, "{places:?}");
    }

    #[test]
    fn nothing_is_drawn_that_a_machine_does_not_let_be_done() {
        let none = Means { disk: false, network: false, clock: false };
        let options = Arguments::parse_from(["", "--faults", "200"]).options;
        for fault in schedule(&options, none) {
            assert!(!matches!(fault.kind(), "disk full" | "network gone" | "clock jump"), "{fault}");
            assert!(!matches!(fault.place(), "PostgreSQL" | "S3"), "{fault}");
        }
    }
}
