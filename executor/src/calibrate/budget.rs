//! The time that a calibration may take, and its phases' parts of it.

use std::time::Duration;

use tokio::time::Instant;

/// What is measured, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// What the chat template adds.
    Template,
    /// Memory against slots and context.
    Memory,
    /// Whether a prefix is evaluated once.
    Reuse,
    /// Speed against slots.
    Speed,
    /// The largest context that is safe.
    Largest,
}

/// From its start to its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    start: Instant,
    total: Duration,
}

// === impl Phase ===

impl Phase {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Template, Self::Memory, Self::Reuse, Self::Speed, Self::Largest];

    /// In words, e.g. `measuring speed`.
    #[must_use]
    pub fn doing(self) -> &'static str {
        match self {
            Self::Template => "counting the template's tokens",
            Self::Memory => "measuring memory",
            Self::Reuse => "testing prefix reuse",
            Self::Speed => "measuring speed",
            Self::Largest => "finding the largest context",
        }
    }

    /// The part of all time that is over when it must end: speed needs most, for its requests must
    /// be many to be worth a prediction, and what one phase leaves the next ones have.
    fn ends_at(self) -> f64 {
        match self {
            Self::Template => 0.1,
            Self::Memory => 0.3,
            Self::Reuse => 0.45,
            Self::Speed => 0.85,
            Self::Largest => 1.0,
        }
    }
}

// === impl Budget ===

impl Budget {
    pub(crate) fn new(total: Duration) -> Self {
        Self { start: Instant::now(), total }
    }

    pub(crate) fn spent(&self) -> Duration {
        self.start.elapsed()
    }

    /// What of it is over, from 0 to 1.
    pub(crate) fn share(&self) -> f64 {
        let total = self.total.as_secs_f64();
        if total > 0.0 { (self.spent().as_secs_f64() / total).min(1.0) } else { 1.0 }
    }

    /// When `phase` must end.
    pub(crate) fn end(&self, phase: Phase) -> Instant {
        self.start + self.total.mul_f64(phase.ends_at())
    }

    /// When the next of `parts` equal parts of the rest of `phase` must end.
    pub(crate) fn part_end(&self, phase: Phase, parts: u32) -> Instant {
        let now = Instant::now();
        now + self.end(phase).saturating_duration_since(now) / parts.max(1)
    }
}
