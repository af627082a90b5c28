//! Why a managed engine ended, and whether a request can be to blame.

use std::{os::unix::process::ExitStatusExt as _, process::ExitStatus};

use rustix::process::Signal;

/// Signals by which people, service managers and the system's shutdown end a program.
const FROM_OUTSIDE: [Signal; 4] = [Signal::TERM, Signal::INT, Signal::HUP, Signal::KILL];
/// What a shell adds to the number of the signal that ended its child.
const SHELL_OFFSET: i32 = 128;

/// Who ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The executor itself.
    Asked,
    /// Somebody else: no request is to blame, and nothing is counted, however often it comes about.
    Outside,
    /// It did, or the kernel for want of memory: what was on its slots is suspected.
    Crash,
}

/// How often the kernel has killed a process of this machine for want of memory; none if it does
/// not tell.
pub(super) fn out_of_memory_kills() -> Option<i64> {
    procfs::vmstat().ok()?.get("oom_kill").copied()
}

// === impl Cause ===

impl Cause {
    /// The cause of an end that the executor did not ask for.
    ///
    /// An end by one of the signals of `FROM_OUTSIDE`, or with code 0 (what a program gives that
    /// obeyed one), comes from outside. But the kernel ends by SIGKILL what takes too much memory,
    /// which a request can bring about: so that signal is believed only if the kernel's count of
    /// such kills stayed the same, `out_of_memory` (`None` where it does not count). Any other end,
    /// by an error code or by a signal such as SIGSEGV, is a crash.
    pub(super) fn of(status: ExitStatus, out_of_memory: Option<bool>) -> Self {
        let code = status.code().unwrap_or_default();
        let signal = status.signal().or((code > SHELL_OFFSET).then_some(code - SHELL_OFFSET));
        let Some(signal) = signal else {
            return if code == 0 { Self::Outside } else { Self::Crash };
        };
        let from_outside = FROM_OUTSIDE.iter().any(|known| known.as_raw() == signal);
        let starved = signal == Signal::KILL.as_raw() && out_of_memory != Some(false);
        if from_outside && !starved { Self::Outside } else { Self::Crash }
    }

    /// How metrics call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Outside => "outside",
            Self::Crash => "crash",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(signal: Signal) -> ExitStatus {
        ExitStatus::from_raw(signal.as_raw())
    }

    fn code(code: i32) -> ExitStatus {
        ExitStatus::from_raw(code << 8)
    }

    #[test]
    fn a_kill_from_outside_is_no_crash() {
        for status in
            [signal(Signal::KILL), signal(Signal::TERM), signal(Signal::INT), code(0), code(137), code(143)]
        {
            assert_eq!(Cause::of(status, Some(false)), Cause::Outside, "{status}");
        }
        for status in
            [signal(Signal::SEGV), signal(Signal::ABORT), signal(Signal::BUS), code(1), code(2), code(139)]
        {
            assert_eq!(Cause::of(status, Some(false)), Cause::Crash, "{status}");
        }
    }

    #[test]
    fn the_kernel_kills_what_takes_too_much_memory() {
        for unknown_or_so in [None, Some(true)] {
            assert_eq!(Cause::of(signal(Signal::KILL), unknown_or_so), Cause::Crash);
            assert_eq!(Cause::of(code(137), unknown_or_so), Cause::Crash);
            assert_eq!(Cause::of(signal(Signal::TERM), unknown_or_so), Cause::Outside);
        }
    }
}
