//! Whether as many requests run at once as are in flight, from the time that they wait for a slot.

use std::{collections::VecDeque, time::Duration};

/// Answers a lane that are looked at together.
const PER_LANE: usize = 4;
/// And at least so many.
const LEAST: usize = 16;
/// So much of a slot may be missing, by what answers take beside their slot's time.
const TOLERANCE: f64 = 0.75;

/// The last answers to requests that were sent while every lane had one in flight.
///
/// With n requests in flight on k < n slots, the time on slots is to the whole time as k is to n, whoever
/// waits. Ollama neither says how many slots it has nor that it lost one (a semaphore that is not given
/// back); it answers all the same, only later.
#[derive(Debug, Default)]
pub(crate) struct Concurrency {
    answers: VecDeque<Answer>,
    /// All lanes were busy on slots once since the model was loaded.
    was_full: bool,
}

#[derive(Debug, Clone, Copy)]
struct Answer {
    took: Duration,
    on_slot: Duration,
}

/// Fewer requests run at once than are in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shortfall {
    /// So many run at once.
    pub(crate) running: u32,
    /// As many as there are lanes did before, since the model was loaded.
    pub(crate) was_full: bool,
}

// === impl Concurrency ===

impl Concurrency {
    /// An answer of an engine whose `lanes` all had a request in flight. Requests that wait less than
    /// `wait` on average do not wait for a slot.
    pub(crate) fn observe(
        &mut self,
        lanes: u32,
        took: Duration,
        on_slot: Duration,
        wait: Duration,
    ) -> Option<Shortfall> {
        let size = LEAST.max(PER_LANE * lanes as usize);
        self.answers.push_back(Answer { took, on_slot: on_slot.min(took) });
        while self.answers.len() > size {
            self.answers.pop_front();
        }
        if self.answers.len() < size || lanes < 2 {
            return None;
        }
        let took: Duration = self.answers.iter().map(|answer| answer.took).sum();
        let on_slot: Duration = self.answers.iter().map(|answer| answer.on_slot).sum();
        let running = f64::from(lanes) * on_slot.as_secs_f64() / took.as_secs_f64().max(f64::MIN_POSITIVE);
        let waited = took.saturating_sub(on_slot) / u32::try_from(size).unwrap_or(u32::MAX);
        if running > f64::from(lanes) - TOLERANCE || waited < wait {
            self.was_full = true;
            return None;
        }
        let was_full = self.was_full;
        self.answers.clear();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to a count of lanes")]
        let running = running.round() as u32;
        Some(Shortfall { running: running.max(1), was_full })
    }

    /// The model was loaded, or the number of lanes changed.
    pub(crate) fn restart(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(100);

    fn observe(concurrency: &mut Concurrency, lanes: u32, took: u64, on_slot: u64) -> Option<Shortfall> {
        let times = [took, on_slot].map(Duration::from_millis);
        (0..64).find_map(|_| concurrency.observe(lanes, times[0], times[1], WAIT))
    }

    #[test]
    fn as_many_as_are_in_flight_is_well_and_overhead_is_no_wait() {
        let mut concurrency = Concurrency::default();
        assert_eq!(observe(&mut concurrency, 4, 1_050, 1_000), None);
        assert_eq!(observe(&mut concurrency, 4, 60, 20), None, "40 ms of a fast engine are overhead");
        assert_eq!(observe(&mut concurrency, 1, 5_000, 1_000), None, "one lane cannot wait for itself");
    }

    #[test]
    fn a_lost_slot_shows_after_all_were_there() {
        let mut concurrency = Concurrency::default();
        assert_eq!(observe(&mut concurrency, 4, 1_000, 990), None);
        let lost = observe(&mut concurrency, 4, 1_333, 1_000);
        assert_eq!(lost, Some(Shortfall { running: 3, was_full: true }));
        concurrency.restart();
        let never = observe(&mut concurrency, 4, 1_333, 1_000);
        assert_eq!(never, Some(Shortfall { running: 3, was_full: false }));
    }

    #[test]
    fn an_engine_with_one_slot_is_found_out_whatever_was_configured() {
        let found = observe(&mut Concurrency::default(), 8, 8_000, 1_000);
        assert_eq!(found, Some(Shortfall { running: 1, was_full: false }));
    }
}
