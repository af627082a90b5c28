//! Requests in flight on an engine, and when it answered last.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

/// What is in flight: at most one request a lane.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    flying: BTreeMap<u64, Flying>,
    /// The last answer, whatever it said.
    answered: Option<Instant>,
    /// How often a silence was found to be nothing since the last answer: each makes the next one
    /// that is worth a look twice as long.
    found_well: u32,
}

#[derive(Debug)]
struct Flying {
    begun: Instant,
    /// A silence of the whole engine that is longer than this is worth a look.
    quiet: Option<Duration>,
    stop: watch::Sender<Option<Blame>>,
}

/// Why a request is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blame {
    /// It only has to make room.
    None,
    /// The engine got stuck while it was in flight.
    Suspect,
}

/// One request in flight, until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight<'a> {
    traffic: &'a Traffic,
    number: u64,
    stop: watch::Receiver<Option<Blame>>,
}

// === impl Traffic ===

impl Traffic {
    /// A request is sent. While it is in flight, an engine that answers nothing for `quiet` is
    /// worth a look.
    pub(crate) fn begin(&self, quiet: Option<Duration>) -> InFlight<'_> {
        let (stop, stopped) = watch::channel(None);
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        state.flying.insert(number, Flying { begun: Instant::now(), quiet, stop });
        drop(state);
        self.changed.notify_waiters();
        InFlight { traffic: self, number, stop: stopped }
    }

    /// The engine answered a request, whatever it said.
    pub(crate) fn answered(&self) {
        let mut state = self.lock();
        state.answered = Some(Instant::now());
        state.found_well = 0;
        drop(state);
        self.changed.notify_waiters();
    }

    /// A look found nothing wrong with the silence.
    pub(crate) fn found_well(&self) {
        let mut state = self.lock();
        state.found_well = state.found_well.saturating_add(1);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Requests in flight.
    pub(crate) fn len(&self) -> usize {
        self.lock().flying.len()
    }

    /// How long ago the last answer was; none if there was none, or while requests are in flight.
    pub(crate) fn idle(&self) -> Option<Duration> {
        let state = self.lock();
        state.answered.filter(|_| state.flying.is_empty()).map(|answered| answered.elapsed())
    }

    /// Waits until the engine has answered nothing for longer than it should take.
    pub(crate) async fn quiet(&self) {
        self.until(|state| state.quiet_at()).await;
    }

    /// Waits for an answer from now on.
    pub(crate) async fn next_answer(&self) {
        let now = Instant::now();
        let answered = |state: &State| state.answered.filter(|answered| *answered > now);
        self.until(answered).await;
    }

    /// Waits until nothing is in flight.
    pub(crate) async fn empty(&self) {
        self.until(|state| state.flying.is_empty().then(Instant::now)).await;
    }

    /// Stops the request that is in flight for the longest time, to make room.
    pub(crate) fn stop_oldest(&self) {
        if let Some((_, flying)) = self.lock().flying.first_key_value() {
            flying.stop.send_replace(Some(Blame::None));
        }
    }

    /// Stops every request: one of them may be why the engine is stuck.
    pub(crate) fn stop_all(&self) {
        for flying in self.lock().flying.values() {
            flying.stop.send_replace(Some(Blame::Suspect));
        }
    }

    /// Waits for the time that `at` gives, asked again after every change.
    async fn until(&self, at: impl Fn(&State) -> Option<Instant>) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let at = at(&self.lock());
            if at.is_some_and(|at| at <= Instant::now()) {
                return;
            }
            let over = async {
                match at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            // Whichever it was, what holds now is looked at again.
            tokio::select! {
                () = over => {}
                () = changed => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    /// When the silence is too long for one of those in flight.
    fn quiet_at(&self) -> Option<Instant> {
        let times = 1_u32.checked_shl(self.found_well).unwrap_or(u32::MAX);
        let due = |flying: &Flying| {
            let since = self.answered.map_or(flying.begun, |answered| answered.max(flying.begun));
            since.checked_add(flying.quiet?.saturating_mul(times))
        };
        self.flying.values().filter_map(due).min()
    }
}

// === impl InFlight ===

impl InFlight<'_> {
    /// Waits until it is to be stopped, and says why.
    pub(crate) async fn stopped(&self) -> Blame {
        let mut stop = self.stop.clone();
        // The sender is dropped with self, so waiting does not fail.
        stop.wait_for(Option::is_some).await.ok().and_then(|blame| *blame).unwrap_or(Blame::None)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.traffic.lock().flying.remove(&self.number);
        self.traffic.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, poll};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    async fn pass(time: Duration) {
        tokio::time::sleep(time).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_silence_is_long_when_it_is_longer_than_one_of_those_in_flight_takes() {
        let traffic = Traffic::default();
        let mut quiet = Box::pin(traffic.quiet());
        pass(100 * SECOND).await;
        assert!(poll!(&mut quiet).is_pending(), "nothing is in flight");
        let _long = traffic.begin(Some(20 * SECOND));
        let short = traffic.begin(Some(5 * SECOND));
        let _unknown = traffic.begin(None);
        pass(4 * SECOND).await;
        traffic.answered();
        pass(4 * SECOND).await;
        assert!(poll!(&mut quiet).is_pending(), "the engine has answered since");
        drop(short);
        pass(15 * SECOND).await;
        assert!(poll!(&mut quiet).is_pending());
        pass(2 * SECOND).await;
        assert!(quiet.now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn each_look_that_finds_nothing_makes_the_next_silence_longer_until_an_answer_comes() {
        let traffic = Traffic::default();
        let _flight = traffic.begin(Some(10 * SECOND));
        traffic.quiet().await;
        traffic.found_well();
        let begun = Instant::now();
        traffic.quiet().await;
        assert_eq!(begun.elapsed(), 10 * SECOND, "twenty in all");
        traffic.answered();
        let begun = Instant::now();
        traffic.quiet().await;
        assert_eq!(begun.elapsed(), 10 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn flights_are_stopped_the_oldest_first_and_counted() {
        let traffic = Traffic::default();
        let (first, second) = (traffic.begin(None), traffic.begin(None));
        assert!(traffic.len() == 2 && traffic.idle().is_none());
        traffic.stop_oldest();
        assert_eq!(first.stopped().now_or_never(), Some(Blame::None));
        assert_eq!(second.stopped().now_or_never(), None);
        drop(first);
        traffic.stop_all();
        assert_eq!(second.stopped().await, Blame::Suspect);
        let mut empty = Box::pin(traffic.empty());
        assert!(poll!(&mut empty).is_pending());
        drop(second);
        empty.await;
        assert_eq!(traffic.idle(), None, "it never answered");
        traffic.answered();
        pass(SECOND).await;
        assert_eq!(traffic.idle(), Some(SECOND));
    }
}
