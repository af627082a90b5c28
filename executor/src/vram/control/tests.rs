use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds = Bounds { readings: 2, unfit_after: Duration::from_secs(60) };
const TOTAL: u64 = 100 << 30;
const CEILING: u64 = 80 << 30;

fn level(gib: u64, cause: Cause) -> Level {
    let others = "process 9 takes 70.0 GiB".into();
    Level { gpu: 0, used: gib << 30, total: TOTAL, ceiling: CEILING, cause, others }
}

/// A control and its clock; each step is a second.
struct Run {
    control: Control,
    now: u64,
}

impl Run {
    fn new() -> Self {
        Self { control: Control::new(BOUNDS), now: 0 }
    }

    fn see(&mut self, level: Option<&Level>, busy: bool) -> Order {
        self.now += 1;
        self.control.step(&Sight { at: Duration::from_secs(self.now), level, busy, own: Some(10 << 30) })
    }

    /// The order after so many equal readings.
    fn hold(&mut self, gib: u64, cause: Cause, busy: bool, times: u32) -> Order {
        let level = level(gib, cause);
        (0..times).map(|_| self.see(Some(&level), busy)).last().unwrap()
    }
}

#[test]
fn an_engine_that_is_the_cause_ends_its_requests_and_is_unloaded() {
    let mut run = Run::new();
    assert_eq!(run.hold(79, Cause::Engine, true, 9), Order::Work);
    assert_eq!(run.hold(81, Cause::Engine, true, 1), Order::Work, "one reading may be a load");
    assert_eq!(run.hold(81, Cause::Engine, true, 200), Order::FinishRequests, "however long that takes");
    assert_eq!(run.hold(81, Cause::Engine, false, 1), Order::Unload);
    assert_eq!(run.hold(20, Cause::Engine, false, 1), Order::Unload);
    assert_eq!(run.hold(20, Cause::Engine, false, 1), Order::Work);
}

#[test]
fn a_foreign_process_is_waited_for_and_then_the_engine_is_unfit_until_it_is_gone() {
    let mut run = Run::new();
    assert_eq!(run.hold(90, Cause::Other, true, 100), Order::FinishChunks);
    assert_eq!(run.hold(90, Cause::Other, false, 60), Order::FinishChunks);
    let why = "GPU 0 has 90.0 GiB of 100.0 GiB in use, above the ceiling of 80.0 GiB, for 60 s with nothing \
               in flight: this engine takes 10.0 GiB, process 9 takes 70.0 GiB";
    assert_eq!(run.hold(90, Cause::Other, false, 1), Order::Unfit(why.into()));
    assert_eq!(run.hold(95, Cause::Unknown, false, 9), Order::Unfit(why.into()), "said once");
    assert_eq!(run.hold(79, Cause::Other, false, 2), Order::Work, "just below: while idle nothing grows");
}

#[test]
fn work_in_flight_begins_the_wait_anew() {
    let mut run = Run::new();
    run.hold(90, Cause::Other, false, 59);
    assert_eq!(run.hold(90, Cause::Other, true, 1), Order::FinishChunks);
    assert_eq!(run.hold(90, Cause::Other, false, 60), Order::FinishChunks);
    assert!(matches!(run.hold(90, Cause::Other, false, 1), Order::Unfit(_)));
}

#[test]
fn what_is_not_known_stops_nobody() {
    let mut run = Run::new();
    for _ in 0..100 {
        assert_eq!(run.see(None, false), Order::Work);
    }
    run.hold(90, Cause::Other, false, 100);
    run.see(None, false);
    assert_eq!(run.see(None, false), Order::Work);
}

#[test]
fn a_ceiling_smaller_than_the_hysteresis_can_be_kept() {
    let tiny = |used| Level { used, ceiling: 1 << 20, ..level(0, Cause::Other) };
    assert!(is_back(&tiny(1 << 19)) && !is_back(&tiny((1 << 19) + 1)));
}

fn readings() -> impl Strategy<Value = Vec<(Option<u64>, u8, bool)>> {
    // Runs of equal readings, so that limits are reached.
    let reading = (prop::option::weighted(0.9, 70..90_u64), 0..3_u8, prop::bool::weighted(0.3), 1..90_usize);
    prop::collection::vec(reading, 1..12).prop_map(|runs| {
        runs.into_iter().flat_map(|(gib, cause, busy, times)| vec![(gib, cause, busy); times]).collect()
    })
}

proptest! {
    #[test]
    fn orders_follow_from_what_was_seen(readings in readings()) {
        let (mut run, mut low, mut high) = (Run::new(), 0_u32, 0_u32);
        for (gib, cause, busy) in readings {
            let cause = [Cause::Engine, Cause::Other, Cause::Unknown][usize::from(cause)];
            let level = gib.map(|gib| level(gib, cause));
            let order = run.see(level.as_ref(), busy);
            high = if gib.is_some_and(|gib| gib > 80) { high + 1 } else { 0 };
            low = if gib.is_none_or(|gib| gib <= 78) { low + 1 } else { 0 };
            if order == Order::Unload {
                prop_assert!(!busy && level.is_some() && cause == Cause::Engine);
            }
            if low >= BOUNDS.readings {
                prop_assert_eq!(&order, &Order::Work);
            }
            if high >= BOUNDS.readings {
                prop_assert_ne!(&order, &Order::Work);
            }
        }
    }

    #[test]
    fn an_engine_is_unfit_only_after_the_whole_time_idle_above_the_ceiling(readings in readings()) {
        let (mut run, mut waited, mut was_unfit) = (Run::new(), 0_u32, false);
        for (gib, cause, busy) in readings {
            let cause = [Cause::Engine, Cause::Other, Cause::Unknown][usize::from(cause)];
            let level = gib.map(|gib| level(gib, cause));
            let order = run.see(level.as_ref(), busy);
            let is_unfit = matches!(order, Order::Unfit(_));
            if is_unfit && !was_unfit {
                prop_assert!(waited >= 59, "after {waited} s");
            }
            was_unfit = is_unfit;
            waited = if busy || order == Order::Work { 0 } else { waited + 1 };
        }
    }
}
