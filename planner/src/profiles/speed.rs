use caravan_plan::Speed;
use caravan_proto::v1;

/// Points that a fleet is described with, at most: beyond so many slots of an engine, some are left out.
const POINTS: u32 = 256;
/// No token is faster, in seconds: what took no time that could be told still has a rate.
const LEAST: f64 = 1e-9;

/// What one lane does on average, by the lanes at work, of `lanes` in all: those at work are spread evenly over
/// the engines. `measured` are engines' slots with their profiles. Empty if none tells its speed.
pub(crate) fn of_lanes(measured: &[(u32, &v1::Profile)], lanes: u32) -> Vec<Speed> {
    let most = measured.iter().map(|(slots, _)| *slots).max().unwrap_or_default();
    let step = most.div_ceil(POINTS).max(1);
    let busy = (1..=most).rev().step_by(step as usize);
    let mut speeds: Vec<Speed> = busy.filter_map(|busy| average(measured, lanes, (busy, most))).collect();
    speeds.reverse();
    speeds
}

/// With `busy` slots at work on an engine of `most`, and on the others as large a part of theirs.
fn average(measured: &[(u32, &v1::Profile)], lanes: u32, (busy, most): (u32, u32)) -> Option<Speed> {
    let part = f64::from(busy) / f64::from(most);
    let known = measured.iter().filter_map(|(slots, profile)| {
        let slots = f64::from(*slots);
        Some((slots, at(profile, (slots * part).max(1.0))?))
    });
    let known: Vec<(f64, Speed)> = known.collect();
    let all: f64 = known.iter().map(|(slots, _)| slots).sum();
    // Tokens a second add up, not the times of a token.
    let token = |of: fn(&Speed) -> f64| {
        let rates = known.iter().map(|(slots, speed)| slots / of(speed).max(LEAST));
        all / rates.sum::<f64>()
    };
    (all > 0.0).then(|| Speed {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most `lanes`")]
        lanes: (f64::from(lanes) * part).round() as u32,
        prompt_seconds: token(|speed| speed.prompt_seconds),
        answer_seconds: token(|speed| speed.answer_seconds),
        request_seconds: known.iter().map(|(slots, speed)| slots * speed.request_seconds).sum::<f64>() / all,
    })
}

/// One lane with `busy` slots at work. Between two measured points, times are taken to grow evenly; below the first
/// they are those of the first, and beyond the last the engine is taken to do no more in all than there.
/// A profile without points holds for any number of slots.
fn at(profile: &v1::Profile, busy: f64) -> Option<Speed> {
    let points = &profile.speeds;
    let Some(last) = points.last() else { return alone(profile) };
    let behind = points.iter().position(|point| f64::from(point.slots) >= busy);
    let (from, to) = match behind {
        Some(0) => (points.first()?, points.first()?),
        Some(behind) => (points.get(behind - 1)?, points.get(behind)?),
        None => {
            let (speed, slower) = (speed(last), busy / f64::from(last.slots));
            let (prompt_seconds, answer_seconds) =
                (speed.prompt_seconds * slower, speed.answer_seconds * slower);
            return Some(Speed { prompt_seconds, answer_seconds, ..speed });
        }
    };
    let width = f64::from(to.slots - from.slots);
    let along = if width > 0.0 { (busy - f64::from(from.slots)) / width } else { 0.0 };
    let (from, to) = (speed(from), speed(to));
    let mix = |from: f64, to: f64| from + (to - from) * along;
    Some(Speed {
        prompt_seconds: mix(from.prompt_seconds, to.prompt_seconds),
        answer_seconds: mix(from.answer_seconds, to.answer_seconds),
        request_seconds: mix(from.request_seconds, to.request_seconds),
        ..from
    })
}

fn speed(point: &v1::SpeedPoint) -> Speed {
    let seconds = |rate: f64| if rate > 0.0 { rate.recip() } else { 0.0 };
    Speed {
        lanes: 0,
        prompt_seconds: seconds(point.prefill_tokens_per_second),
        answer_seconds: seconds(point.decode_tokens_per_second),
        request_seconds: point.request_seconds,
    }
}

fn alone(profile: &v1::Profile) -> Option<Speed> {
    let known = profile.prefill_tokens_per_second > 0.0 && profile.decode_tokens_per_second > 0.0;
    known.then(|| Speed {
        lanes: 0,
        prompt_seconds: profile.prefill_tokens_per_second.recip(),
        answer_seconds: profile.decode_tokens_per_second.recip(),
        request_seconds: profile.request_seconds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(slots: i32, prefill: f64, decode: f64) -> v1::SpeedPoint {
        v1::SpeedPoint {
            slots,
            prefill_tokens_per_second: prefill,
            decode_tokens_per_second: decode,
            request_seconds: 0.1,
            ..Default::default()
        }
    }

    fn profile() -> v1::Profile {
        let speeds = vec![point(1, 1_000.0, 100.0), point(2, 800.0, 80.0), point(4, 400.0, 40.0)];
        v1::Profile { speeds, ..Default::default() }
    }

    /// Tokens a second.
    fn rates(speed: Speed) -> [f64; 2] {
        [speed.prompt_seconds, speed.answer_seconds].map(|seconds| (1.0 / seconds).round())
    }

    #[test]
    fn times_grow_evenly_between_points() {
        let at = |busy| rates(at(&profile(), busy).unwrap());
        assert_eq!([at(1.0), at(2.0), at(4.0)], [[1_000.0, 100.0], [800.0, 80.0], [400.0, 40.0]]);
        // 1.25 ms and 2.5 ms a prompt token: 1.875 ms in the middle.
        assert_eq!(at(3.0), [533.0, 53.0]);
        assert_eq!(at(0.5), [1_000.0, 100.0]);
        assert_eq!(at(8.0), [200.0, 20.0]);
    }

    #[test]
    fn without_points_a_profile_holds_for_any_number_of_slots() {
        let one = v1::Profile {
            prefill_tokens_per_second: 900.0,
            decode_tokens_per_second: 30.0,
            ..Default::default()
        };
        assert_eq!(rates(at(&one, 7.0).unwrap()), [900.0, 30.0]);
        assert_eq!(at(&v1::Profile { decode_tokens_per_second: 0.0, ..one }, 7.0), None);
    }

    #[test]
    fn a_point_that_took_no_time_is_a_point() {
        let free = v1::Profile { speeds: vec![point(2, 0.0, 40.0)], ..Default::default() };
        let fleet = of_lanes(&[(2, &free)], 2);
        assert!(fleet[1].prompt_seconds <= LEAST && fleet[1].request_seconds > 0.0, "{fleet:?}");
    }

    #[test]
    fn lanes_are_spread_over_engines() {
        let profile = profile();
        let fleet = of_lanes(&[(4, &profile), (4, &profile)], 8);
        assert_eq!(fleet.iter().map(|speed| speed.lanes).collect::<Vec<_>>(), [2, 4, 6, 8]);
        assert_eq!(rates(fleet[1]), [800.0, 80.0]);
        assert_eq!(rates(fleet[3]), [400.0, 40.0]);
        // One engine is not measured: its lanes are taken to be as fast.
        assert_eq!(of_lanes(&[(4, &profile)], 8), fleet);
        assert_eq!(of_lanes(&[], 8), []);
        assert_eq!(of_lanes(&[(4, &v1::Profile::default())], 4), []);
    }

    #[test]
    fn unequal_engines_count_by_their_lanes() {
        let (slow, fast) = (profile(), v1::Profile { speeds: vec![point(1, 4_000.0, 400.0)], ..profile() });
        let fleet = of_lanes(&[(2, &slow), (1, &fast)], 3);
        // (2 × 800 + 4,000) ÷ 3.
        assert_eq!(rates(fleet[1]), [1_867.0, 187.0]);
    }

    #[test]
    fn a_large_engine_needs_few_points() {
        let fleet = of_lanes(&[(100_000, &profile())], 100_000);
        assert!(fleet.len() <= POINTS as usize && fleet.last().unwrap().lanes == 100_000);
        assert!(fleet.is_sorted_by_key(|speed| speed.lanes));
    }
}
