//! Which fault made an engine answer a request again: each such answer must have one.

use std::{collections::HashMap, time::Duration};

use super::{
    engine::Answered,
    fault::{Deed, Fault, Seat, Trouble, What, Wire},
    options::{Options, SLOTS},
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
/// are kept until they are acked. But a planner that alone is cut off from its database for half of a lease's life
/// renews none of its executors' leases, and one that reaches it expires them.
pub(super) fn explain(options: &Options, struck: &mut [Struck], answers: &[Vec<Answered>]) -> Vec<String> {
    for one in struck.iter_mut() {
        one.to = until(one, answers);
    }
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

/// Until when a fault holds. An engine that is told to tear answers tears those to the requests that come next,
/// whenever they come, behind the answers to those that it has.
fn until(struck: &Struck, answers: &[Vec<Answered>]) -> i64 {
    let What::Engine(engine, Trouble::Disconnect(count)) = struck.fault.what else { return struck.to };
    let mut next: Vec<_> = answers[engine].iter().map(|one| one.at).filter(|at| *at >= struck.from).collect();
    next.sort_unstable();
    let torn = usize::try_from(count).unwrap_or(usize::MAX).saturating_add(SLOTS).min(next.len());
    torn.checked_sub(1).map_or(struck.to, |last| struck.to.max(next[last]))
}

fn may_repeat(options: &Options, struck: &[Struck], index: usize, one: Given) -> bool {
    let Struck { fault, from, to, .. } = struck[index];
    let unrenewed = matches!(fault.what, What::Wire(Wire::PlannerDatabase(_), _))
        && options.planners() > 1
        && to - from > micros(options.ttl()) / 2;
    if !unrenewed && !loses(options, &fault, one.engine) {
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

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::{super::link::Weather, *};

    #[derive(clap::Parser)]
    struct Arguments {
        #[command(flatten)]
        options: Options,
    }

    /// Second 100 of a run.
    const FROM: i64 = 100_000_000;

    /// How many of a request's answers by these engines at these seconds a fault of two seconds leaves
    /// without an explanation.
    fn unexplained(what: What, given: &[(usize, i64)]) -> usize {
        let options = Arguments::parse_from([""]).options;
        let fault = Fault { what, time: Duration::from_secs(2) };
        let mut struck = [Struck { fault, from: FROM, to: FROM + 2_000_000, repeats: 0 }];
        let mut answers = vec![Vec::new(); options.engines];
        for (engine, second) in given {
            answers[*engine].push(Answered { at: second * 1_000_000, marker: "r1".into() });
        }
        let unexplained = explain(&options, &mut struck, &answers).len();
        assert_eq!(unexplained + struck[0].repeats, given.len() - 1);
        unexplained
    }

    #[test]
    fn a_dead_executor_explains_what_was_not_acked_and_nothing_else() {
        let kill = What::Process(Seat::Executor(1), Deed::Kill);
        assert_eq!(unexplained(kill, &[(1, 99), (0, 105)]), 0);
        assert_eq!(unexplained(kill, &[(1, 90), (0, 105)]), 1, "acked long before");
        assert_eq!(unexplained(kill, &[(2, 99), (0, 105)]), 1, "of another executor");
        assert_eq!(unexplained(kill, &[(1, 99), (0, 105), (0, 106)]), 1, "and once more");
    }

    #[test]
    fn a_dead_planner_or_database_explains_nothing() {
        for seat in [Seat::Planner(0), Seat::Database, Seat::Objects, Seat::Gateway(0)] {
            assert_eq!(unexplained(What::Process(seat, Deed::Kill), &[(1, 99), (0, 105)]), 1);
        }
        assert_eq!(unexplained(What::Disk, &[(1, 99), (0, 105)]), 1);
        let jump = What::Process(Seat::Executor(1), Deed::Jump(45));
        assert_eq!(unexplained(jump, &[(1, 99), (0, 105)]), 1);
    }

    #[test]
    fn torn_answers_are_explained_whenever_their_requests_come_and_no_longer() {
        let torn = What::Engine(1, Trouble::Disconnect(1));
        assert_eq!(unexplained(torn, &[(1, 120), (1, 121)]), 0);
        assert_eq!(unexplained(torn, &[(0, 120), (0, 121)]), 1, "of another engine");
        let used_up = [(1, 103), (1, 104), (1, 105), (1, 106), (1, 107), (1, 190), (1, 191)];
        assert_eq!(unexplained(torn, &used_up), 1, "torn long before");
    }

    #[test]
    fn a_planner_without_its_database_explains_what_it_did_not_renew() {
        let cut = |seconds: i64| {
            let what = What::Wire(Wire::PlannerDatabase(0), Weather::Cut);
            let fault = Fault { what, time: Duration::ZERO };
            [Struck { fault, from: FROM, to: FROM + seconds * 1_000_000, repeats: 0 }]
        };
        let one = Given { engine: 1, at: FROM + 1_000_000 };
        let options = |store| Arguments::parse_from(["", "--store", store]).options;
        assert!(may_repeat(&options("postgres"), &cut(3), 0, one));
        assert!(!may_repeat(&options("postgres"), &cut(1), 0, one), "the next sign of life renews them");
        assert!(!may_repeat(&options("sqlite"), &cut(3), 0, one), "nobody else expires them");
    }

    #[test]
    fn what_was_kept_from_being_acked_is_explained_from_its_beginning() {
        let options = Arguments::parse_from([""]).options;
        let of = |what, from: i64, to: i64| {
            let fault = Fault { what, time: Duration::ZERO };
            Struck { fault, from: from * 1_000_000, to: to * 1_000_000, repeats: 0 }
        };
        let outage = of(What::Process(Seat::Database, Deed::Kill), 80, 99);
        let kill = of(What::Process(Seat::Executor(1), Deed::Kill), 100, 101);
        let one = Given { engine: 1, at: 85_000_000 };
        assert!(may_repeat(&options, &[outage, kill], 1, one));
        assert!(!may_repeat(&options, &[kill], 0, one));
    }
}
