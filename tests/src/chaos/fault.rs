//! What can go wrong, and where; drawn from a seed.

use std::{fmt, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

use super::{link::Weather, options::Options, order::CHUNK};

/// A process, by its role and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Seat {
    Planner(usize),
    Gateway(usize),
    Executor(usize),
    Engine(usize),
}

/// A connection between two of them, from who dials to who is dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wire {
    ClientGateway(usize),
    GatewayPlanner(usize, usize),
    ExecutorPlanner(usize, usize),
    ExecutorEngine(usize),
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
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Process(Seat, Deed),
    Wire(Wire, Weather),
    Engine(usize, Trouble),
}

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
}

/// Kills weigh most: they are what a fleet sees most.
const DECK: [Card; 13] = [
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
];

/// The faults of a run, in order.
pub(super) fn schedule(options: &Options) -> Vec<Fault> {
    let mut random = StdRng::seed_from_u64(options.seed);
    let mut deck = Vec::new();
    let mut faults = Vec::with_capacity(options.faults);
    while faults.len() < options.faults {
        if deck.is_empty() {
            deck.extend(DECK);
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
    };
    // On both sides of a lease's life.
    Fault { what, time: options.ttl().mul_f64(random.random_range(0.3..2.0)) }
}

fn seat(options: &Options, random: &mut StdRng) -> Seat {
    let mut one = |of: usize| random.random_range(0..of);
    match one(4) {
        0 => Seat::Planner(one(options.planners)),
        1 => Seat::Gateway(one(options.gateways)),
        2 => Seat::Executor(one(options.executors)),
        _ => Seat::Engine(one(options.engines)),
    }
}

fn wire(options: &Options, random: &mut StdRng) -> Wire {
    let mut one = |of: usize| random.random_range(0..of);
    match one(4) {
        0 => Wire::ClientGateway(one(options.gateways)),
        1 => Wire::GatewayPlanner(one(options.gateways), one(options.planners)),
        2 => Wire::ExecutorPlanner(one(options.executors), one(options.planners)),
        _ => Wire::ExecutorEngine(one(options.engines)),
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
            What::Wire(_, Weather::Silent) => "half-open",
            What::Wire(_, Weather::Late(_)) => "delay",
            What::Wire(_, Weather::Slow(_)) => "throttle",
            What::Wire(_, Weather::Cut | Weather::Clear) => "cut",
            What::Engine(_, Trouble::Crash) => "engine crash",
            What::Engine(_, Trouble::Hang | Trouble::Freeze) => "engine hang",
            What::Engine(_, Trouble::Busy(_)) => "engine 503",
            What::Engine(_, Trouble::DoneFalse(_)) => "engine done:false",
            What::Engine(_, Trouble::Disconnect(_)) => "engine torn answer",
        }
    }

    /// Answers that it may make engines give again, at most. What `lanes` had sent and what was not acked
    /// within `a_tick` of a lane dies with an executor; one that is cut off goes on with two chunks a lane
    /// while others have got them too. An engine's answers that are on their way are asked for again. A planner
    /// or a gateway repeats nothing.
    pub(super) fn repeats(&self, lanes: usize, a_tick: usize) -> usize {
        match self.what {
            What::Process(Seat::Executor(_), Deed::Kill) => lanes * (1 + a_tick),
            What::Process(Seat::Executor(_), Deed::Stop) | What::Wire(Wire::ExecutorPlanner(..), _) => {
                lanes * (2 * CHUNK + a_tick)
            }
            What::Process(Seat::Executor(_), Deed::Drain)
            | What::Process(Seat::Engine(_), _)
            | What::Wire(Wire::ExecutorEngine(_), _)
            | What::Engine(..) => lanes,
            What::Process(Seat::Gateway(_) | Seat::Planner(_), _)
            | What::Wire(Wire::ClientGateway(_) | Wire::GatewayPlanner(..), _) => 0,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.time.as_millis();
        match self.what {
            What::Process(seat, Deed::Drain) => write!(f, "{} {seat}", self.kind()),
            What::Process(seat, _) => write!(f, "{} {seat} for {millis} ms", self.kind()),
            What::Wire(wire, _) => write!(f, "{} {wire} for {millis} ms", self.kind()),
            What::Engine(engine, Trouble::Freeze) => write!(f, "freeze engine-{engine} for {millis} ms"),
            What::Engine(engine, trouble) => write!(f, "engine-{engine} {trouble:?}"),
        }
    }
}

impl fmt::Display for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Planner(number) => write!(f, "planner-{number}"),
            Self::Gateway(number) => write!(f, "gateway-{number}"),
            Self::Executor(number) => write!(f, "executor-{number}"),
            Self::Engine(number) => write!(f, "engine-{number}"),
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
        schedule(&Arguments::parse_from(args).options)
    }

    #[test]
    fn a_seed_draws_the_same_faults_again_and_another_one_others() {
        assert_eq!(faults(&["", "--seed", "7"]), faults(&["", "--seed", "7"]));
        assert_ne!(faults(&["", "--seed", "7"]), faults(&["", "--seed", "8"]));
        assert_eq!(faults(&["", "--faults", "200"]).len(), 200);
    }

    #[test]
    fn every_kind_comes_in_a_long_run() {
        let kinds: BTreeSet<_> = faults(&["", "--faults", "200"]).iter().map(Fault::kind).collect();
        assert_eq!(kinds.len(), 12, "{kinds:?}");
    }
}
