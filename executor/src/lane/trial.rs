//! What one request went through, and what follows from the next failure.

use crate::engine::{Class, Failure};

/// Deaths of the runner while the request was alone on the engine that quarantine it:
/// one may be chance, or a kill from outside.
const DEATHS_ALONE: u32 = 2;
/// Code of a quarantined request.
pub(super) const KILLS_ENGINE: &str = "request_kills_engine";

/// The tries of one request so far.
#[derive(Debug)]
pub(super) struct Trial {
    tries: u32,
    limit: u32,
    deaths_alone: u32,
    suspect: bool,
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The request ended: the failure is its result.
    Ended,
    /// The request kills the engine: that is its result.
    Quarantine,
    /// Pause, then try again.
    Again,
    /// Wait for the engine, then try again.
    Wait,
    /// The model does not run here: hand the lease back.
    HandBack,
}

// === impl Trial ===

impl Trial {
    /// Nothing was tried; `limit` tries are allowed.
    pub(super) fn new(limit: u32) -> Self {
        Self { tries: 0, limit, deaths_alone: 0, suspect: false }
    }

    /// Whether it may run only alone on the engine.
    pub(super) fn is_suspect(&self) -> bool {
        self.suspect
    }

    /// Counts one try, as of a `Class::Retry` failure.
    pub(super) fn counted(&mut self) -> Verdict {
        self.tries += 1;
        if self.tries < self.limit { Verdict::Again } else { Verdict::Ended }
    }

    /// Counts a death of the engine, or that it got stuck, during a try that ran `alone` or beside others.
    pub(super) fn died(&mut self, alone: bool) -> Verdict {
        self.suspect = true;
        self.deaths_alone += u32::from(alone);
        if self.deaths_alone < DEATHS_ALONE { Verdict::Again } else { Verdict::Quarantine }
    }

    /// Judges the `failure` of a try that ran `alone` or beside others.
    pub(super) fn judge(&mut self, failure: &Failure, alone: bool) -> Verdict {
        match failure.class {
            Class::Request => Verdict::Ended,
            Class::Model => Verdict::HandBack,
            Class::Retry => self.counted(),
            Class::Suspect => self.died(alone),
            Class::Bystander => Verdict::Again,
            Class::Down => Verdict::Wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(class: Class) -> Failure {
        Failure::own(class, "x", "")
    }

    #[test]
    fn only_retries_count_against_the_tries() {
        let mut trial = Trial::new(2);
        for class in [Class::Bystander, Class::Bystander, Class::Bystander] {
            assert_eq!(trial.judge(&failure(class), false), Verdict::Again);
        }
        assert_eq!(trial.judge(&failure(Class::Down), false), Verdict::Wait);
        assert_eq!(trial.judge(&failure(Class::Retry), false), Verdict::Again);
        assert_eq!(trial.judge(&failure(Class::Retry), false), Verdict::Ended);
    }

    #[test]
    fn two_deaths_alone_quarantine_and_deaths_in_company_never_do() {
        let mut trial = Trial::new(3);
        for _ in 0..9 {
            assert_eq!(trial.judge(&failure(Class::Suspect), false), Verdict::Again);
        }
        assert!(trial.is_suspect());
        assert_eq!(trial.judge(&failure(Class::Suspect), true), Verdict::Again);
        assert_eq!(trial.judge(&failure(Class::Suspect), true), Verdict::Quarantine);
    }

    #[test]
    fn permanent_failures_end_at_once() {
        assert_eq!(Trial::new(3).judge(&failure(Class::Request), false), Verdict::Ended);
        assert_eq!(Trial::new(3).judge(&failure(Class::Model), false), Verdict::HandBack);
    }
}
