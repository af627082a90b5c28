//! What follows from a GPU's memory, step by step.

use std::time::Duration;

use super::share::{Cause, Level, gib};

/// Back below the ceiling is this share of the GPU's memory below it: the memory of a loaded model
/// moves by up to 240 MiB in its first requests (measured), 1.5 % of a card of 16 GB.
const HYSTERESIS: f64 = 0.02;

/// The limits of one engine's control.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Readings in a row that show a change before it counts: a load frees and takes for a moment.
    pub(super) readings: u32,
    /// An engine that has nothing in flight and is above the ceiling for so long is unfit.
    pub(super) unfit_after: Duration,
}

/// What is seen at one reading.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sight<'a> {
    /// When, on a clock that only grows.
    pub(super) at: Duration,
    /// Of the engine's fullest GPU; none if it is not known.
    pub(super) level: Option<&'a Level>,
    /// Whether the engine has something in flight, or loads.
    pub(super) busy: bool,
    /// Bytes that the engine takes, if that is known.
    pub(super) own: Option<u64>,
}

/// What is to be done now; the same for as long as nothing changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    /// Lanes take work.
    Work,
    /// No new chunk: those that were not started are handed back, the others run to their end.
    FinishChunks,
    /// Not even a new request: what is in flight ends, the rest of its chunk is handed back.
    FinishRequests,
    /// Nothing is in flight: what is loaded is to be unloaded and to be loaded with less.
    Unload,
    /// Nothing is in flight, and it did not help: the engine cannot be used. Why.
    Unfit(String),
}

/// The control of one engine.
#[derive(Debug)]
pub(super) struct Control {
    bounds: Bounds,
    state: State,
    /// Readings in a row that speak against the state.
    against: u32,
}

#[derive(Debug)]
enum State {
    Fine,
    /// Above the ceiling; with nothing in flight since.
    Over {
        idle_since: Option<Duration>,
    },
    /// As before, for too long. Why.
    Unfit(String),
}

// === impl Control ===

impl Control {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, state: State::Fine, against: 0 }
    }

    /// Takes one reading, and says what is to be done. What is not known stops nobody.
    pub(super) fn step(&mut self, sight: &Sight<'_>) -> Order {
        let is_fine = matches!(self.state, State::Fine);
        // With nothing in flight nothing grows by itself: then at the ceiling is below it. Otherwise an engine
        // that was loaded to just below it would never be back.
        let is_back = |level: &Level| if sight.busy { is_back(level) } else { !is_above(level) };
        let above = sight.level.is_some_and(|level| if is_fine { is_above(level) } else { !is_back(level) });
        self.against = if above == is_fine { self.against + 1 } else { 0 };
        if self.against >= self.bounds.readings.max(1) {
            self.against = 0;
            self.state = if is_fine { State::Over { idle_since: None } } else { State::Fine };
        }
        self.wait(sight);
        match &self.state {
            State::Fine => Order::Work,
            State::Unfit(why) => Order::Unfit(why.clone()),
            State::Over { idle_since } => match sight.level.map(|level| level.cause) {
                Some(Cause::Engine) if idle_since.is_some() => Order::Unload,
                Some(Cause::Engine) => Order::FinishRequests,
                _ => Order::FinishChunks,
            },
        }
    }

    /// Above the ceiling: how long with nothing in flight.
    fn wait(&mut self, sight: &Sight<'_>) {
        let State::Over { idle_since } = &mut self.state else { return };
        *idle_since = if sight.busy { None } else { Some(idle_since.unwrap_or(sight.at)) };
        let idle = idle_since.map(|since| sight.at.saturating_sub(since));
        if let (Some(idle), Some(level)) = (idle, sight.level)
            && idle >= self.bounds.unfit_after
        {
            self.state = State::Unfit(why(level, sight.own, idle));
        }
    }
}

fn is_above(level: &Level) -> bool {
    level.used > level.ceiling
}

fn is_back(level: &Level) -> bool {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small share of bytes"
    )]
    let room = (level.total as f64 * HYSTERESIS) as u64;
    // Under a ceiling that is smaller than that share, half of it counts as below.
    level.used <= level.ceiling.saturating_sub(room.min(level.ceiling / 2))
}

fn why(level: &Level, own: Option<u64>, idle: Duration) -> String {
    let Level { gpu, used, total, ceiling, others, .. } = level;
    let own = own.map_or_else(|| "an unknown amount".to_owned(), gib);
    let separator = if others.is_empty() { "" } else { ", " };
    format!(
        "GPU {gpu} has {} of {} in use, above the ceiling of {}, for {} s with nothing in flight: \
         this engine takes {own}{separator}{others}",
        gib(*used),
        gib(*total),
        gib(*ceiling),
        idle.as_secs(),
    )
}

#[cfg(test)]
mod tests;
