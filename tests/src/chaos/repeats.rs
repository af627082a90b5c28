//! Which fault made an engine answer a request again: each such answer must have one.

use std::{collections::HashMap, time::Duration};

use super::{
    engine::Answered,
    fault::{Deed, Fault, Seat, What, Wire},
    options::Options,
};

/// A result is not acked for so long at most: a commit a second, and what a busy machine adds.
const UNACKED: i64 = 2_000_000;
/// What is cut off and comes back is at work again so long after.
const SETTLED: i64 = 3_000_000;

/// A fault, and when it held, in microseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct Struck {
    pub(super) fault: Fault,
    pub(super) from: i64,
    pub(super) to: i64,
    /// Answers that it had engines give again.
    pub(super) repeats: usize,
}

/// An answer by one of the engines.
#[derive(Debug, Clone, Copy)]
struct Given {
    engine: usize,
    at: i64,
}

/// Counts for each fault the answers that it had engines give again; gives what no fault explains. A request
/// may be answered again if its executor was lost before the answer was acked, if an executor that was cut off
/// goes on with what another one has got meanwhile, or if the answer was lost on its way from the engine.
/// A planner, a gateway, a database or an object store that is lost has nothing answered again: results
/// are kept until they are acked.
pub(super) fn explain(options: &Options, struck: &mut [Struck], answers: &[Vec<Answered>]) -> Vec<String> {
    let mut given: HashMap<&str, Vec<Given>> = HashMap::new();
    for (engine, answers) in answers.iter().enumerate() {
        for answer in answers {
            given.entry(&answer.marker).or_default().push(Given { engine, at: answer.at });
        }
    }
    let mut unexplained = Vec::new();
    for (marker, mut given) in given {
        given.sort_by_key(|given| given.at);
        for pair in given.windows(2) {
            let explains = |index: &usize| pair.iter().any(|one| may_repeat(options, struck, *index, *one));
            match (0..struck.len()).find(explains) {
                Some(index) => struck[index].repeats += 1,
                None => unexplained.push(format!("{marker} by {pair:?}")),
            }
        }
    }
    unexplained.sort();
    unexplained
}

fn may_repeat(options: &Options, struck: &[Struck], index: usize, one: Given) -> bool {
    let Struck { fault, from, to, .. } = struck[index];
    if !loses(options, &fault, one.engine) {
        return false;
    }
    let late = to + SETTLED + micros(options.ttl());
    (unacked_since(options, struck, from, one.engine)..=late).contains(&one.at)
}

/// The fault loses answers of this engine, or has them given again.
fn loses(options: &Options, fault: &Fault, engine: usize) -> bool {
    let mine = engine % options.executors;
    match fault.what {
        What::Process(_, Deed::Jump(_)) => false,
        What::Process(Seat::Executor(executor), _) | What::Wire(Wire::ExecutorPlanner(executor, _), _) => {
            executor == mine
        }
        What::Network(executor) => executor == mine,
        What::Process(Seat::Engine(of), _)
        | What::Wire(Wire::ExecutorEngine(of), _)
        | What::Engine(of, _) => of == engine,
        What::Process(..) | What::Wire(..) | What::Disk => false,
    }
}

/// Since when results of this engine may not have been acked at `time`: since before whatever kept
/// planners from taking or committing them.
fn unacked_since(options: &Options, struck: &[Struck], time: i64, engine: usize) -> i64 {
    let mut since = time - UNACKED;
    let keeps = |fault: &Fault| match fault.what {
        What::Process(Seat::Planner(_) | Seat::Database | Seat::Objects, _) | What::Disk => true,
        What::Wire(Wire::PlannerDatabase(_) | Wire::PlannerObjects(_), _) => true,
        _ => loses(options, fault, engine),
    };
    // Faults are in the order in which they came.
    for other in struck.iter().rev().filter(|other| keeps(&other.fault)) {
        if other.from < since && other.to + SETTLED >= since {
            since = other.from - UNACKED;
        }
    }
    since
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
