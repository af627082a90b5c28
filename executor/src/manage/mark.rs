//! The mark that managed engines carry in their environment, and the end of those whose executor is
//! gone.
//!
//! Children inherit it, so a llama-server whose Ollama was killed is found as well, whoever its
//! parent is by now. The mark names the executor by process id and time of start: an id that is used
//! again means nobody. No file has to be kept, and none can be out of date.

use std::fmt;

use procfs::process::{Process, all_processes};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// The variable of the mark.
pub(super) const VARIABLE: &str = "CARAVAN_MANAGED_BY";

/// Who started an engine, and as which program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    executor: Executor,
    program: String,
}

/// One executor process of this machine since it was booted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Executor {
    /// The pid namespace in which `pid` is meant.
    namespace: String,
    pid: i32,
    /// Clock ticks from boot to its start.
    start: u64,
}

// === impl Mark ===

impl Mark {
    /// Of `program`, started by this process. None if `/proc` does not show it.
    pub(super) fn new(program: &str) -> Option<Self> {
        let executor = Executor::of(&Process::myself().ok()?)?;
        Some(Self { executor, program: program.to_owned() })
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, ' ');
        let (namespace, pid, start) = (parts.next()?, parts.next()?, parts.next()?);
        let executor =
            Executor { namespace: namespace.to_owned(), pid: pid.parse().ok()?, start: start.parse().ok()? };
        Some(Self { executor, program: parts.next()?.to_owned() })
    }

    /// The mark of a process, if it has one and this user may see it.
    fn of(process: &Process) -> Option<Self> {
        let environ = process.environ().ok()?;
        Self::parse(environ.get(std::ffi::OsStr::new(VARIABLE))?.to_str()?)
    }

    /// Kills what carries this mark, and what carries that of an executor that is no more, children
    /// included.
    pub(super) fn sweep(&self) {
        let own = self.executor.pid;
        let others = all_processes().into_iter().flatten().flatten().filter(|process| process.pid() != own);
        let left: Vec<_> =
            others.filter(|process| Self::of(process).is_some_and(|mark| self.ends(&mark))).collect();
        left.iter().for_each(end);
    }

    /// Whether what carries `other` has to end before this program starts.
    fn ends(&self, other: &Self) -> bool {
        other == self || (other.executor.namespace == self.executor.namespace && !other.executor.lives())
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Executor { namespace, pid, start } = &self.executor;
        write!(f, "{namespace} {pid} {start} {}", self.program)
    }
}

// === impl Executor ===

impl Executor {
    fn of(process: &Process) -> Option<Self> {
        let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
        let start = process.stat().ok()?.starttime;
        Some(Self { namespace: namespace.to_str()?.to_owned(), pid: process.pid(), start })
    }

    fn lives(&self) -> bool {
        Process::new(self.pid)
            .and_then(|process| process.stat())
            .is_ok_and(|stat| stat.starttime == self.start)
    }
}

/// Kills a process and its group: engines are started as leaders of their own.
fn end(process: &Process) {
    let Some(pid) = Pid::from_raw(process.pid()) else { return };
    tracing::warn!(pid = process.pid(), "killing what an engine has left behind");
    let _gone = kill_process(pid, Signal::KILL);
    let own = Process::myself().and_then(|me| me.stat()).map(|stat| stat.pgrp);
    let group = process.stat().map(|stat| stat.pgrp);
    if let (Ok(own), Ok(group)) = (own, group)
        && own != group
        && let Some(group) = Pid::from_raw(group)
    {
        let _gone = kill_process_group(group, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};
    use std::time::{Duration, Instant};

    use super::*;

    struct Sleeper(Child);

    impl Sleeper {
        /// Once its mark can be read: a spawn returns while the kernel still lays out the new program.
        /// Or once it has ended: whichever sweep comes first, another test's too, kills orphans.
        fn marked(mark: &str) -> Self {
            let mut new = Self(Command::new("sleep").arg("600").env(VARIABLE, mark).spawn().unwrap());
            let limit = Instant::now() + Duration::from_secs(10);
            let process = Process::new(new.0.id().cast_signed());
            while new.is_alive() && process.as_ref().ok().and_then(Mark::of).is_none() {
                assert!(Instant::now() < limit, "its mark is not to be seen: {process:?}");
                std::thread::yield_now();
            }
            new
        }

        fn is_alive(&mut self) -> bool {
            self.0.try_wait().unwrap().is_none()
        }

        fn ended(&mut self) {
            self.0.wait().unwrap();
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _gone = self.0.kill();
            let _reaped = self.0.wait();
        }
    }

    #[test]
    fn a_mark_is_read_as_it_is_written() {
        let mark = Mark::new("ollama-0").unwrap();
        assert_eq!(Mark::parse(&mark.to_string()), Some(mark));
        for text in ["", "pid:[1] 2 3", "pid:[1] x 3 ollama-0"] {
            assert_eq!(Mark::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_a_dead_executor_left_ends_and_what_a_living_one_has_stays() {
        let mark = Mark::new("mark-test-0").unwrap();
        // A pid that is used again: this process is it, but began at another time.
        let reused = Executor { start: mark.executor.start - 1, ..mark.executor.clone() };
        let dead = Mark { executor: reused, ..mark.clone() };
        let elsewhere = Executor { namespace: "pid:[1]".into(), ..dead.executor.clone() };
        let mut own = Sleeper::marked(&mark.to_string());
        let mut orphan = Sleeper::marked(&dead.to_string());
        let mut beside = Sleeper::marked(&Mark { program: "mark-test-1".into(), ..mark.clone() }.to_string());
        let mut foreign = Sleeper::marked(&Mark { executor: elsewhere, ..dead.clone() }.to_string());
        mark.sweep();
        own.ended();
        orphan.ended();
        assert!(beside.is_alive(), "another engine of this executor");
        assert!(foreign.is_alive(), "of another pid namespace, where its executor may live");
    }
}
