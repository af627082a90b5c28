use caravan_plan::Speed;
use caravan_proto::v1;

/// Points that a fleet is described with, at most: beyond so many slots of an engine, some are left out.
const POINTS: u32 = 256;

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
    let mean =
        |of: fn(&Speed) -> f64| known.iter().map(|(slots, speed)| slots * of(speed)).sum::<f64>() / all;
    (all > 0.0).then(|| Speed {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most `lanes`")]
        lanes: (f64::from(lanes) * part).round() as u32,
        prefill_tokens_per_second: mean(|speed| speed.prefill_tokens_per_second),
        decode_tokens_per_second: mean(|speed| speed.decode_tokens_per_second),
        request_seconds: mean(|speed| speed.request_seconds),
    })
}

/// One lane with `busy` slots at work. Between two measured points, the time of a token is taken to grow
/// evenly; below the first it is that of the first, and beyond the last the engine is taken to do no
/// more in all than there. A profile without points holds for any number of slots.
fn at(profile: &v1::Profile, busy: f64) -> Option<Speed> {
    let points = &profile.speeds;
    let behind = points.iter().position(|point| f64::from(point.slots) >= busy);
    let (from, to) = match behind {
        Some(0) => return Some(speed(points.first()?, 1.0)),
        Some(behind) => (points.get(behind - 1)?, points.get(behind)?),
        None => {
            return match points.last() {
                Some(last) => Some(speed(last, busy / f64::from(last.slots))),
                None => alone(profile),
            };
        }
    };
    let along = (busy - f64::from(from.slots)) / f64::from(to.slots - from.slots);
    let mix = |from: f64, to: f64| from + (to - from) * along;
    Some(Speed {
        lanes: 0,
        prefill_tokens_per_second: 1.0
            / mix(1.0 / from.prefill_tokens_per_second, 1.0 / to.prefill_tokens_per_second),
        decode_tokens_per_second: 1.0
            / mix(1.0 / from.decode_tokens_per_second, 1.0 / to.decode_tokens_per_second),
        request_seconds: mix(from.request_seconds, to.request_seconds),
    })
}

/// A point whose tokens take so many times as long.
fn speed(point: &v1::SpeedPoint, slower: f64) -> Speed {
    Speed {
        lanes: 0,
        prefill_tokens_per_second: point.prefill_tokens_per_second / slower,
        decode_tokens_per_second: point.decode_tokens_per_second / slower,
        request_seconds: point.request_seconds,
    }
}

fn alone(profile: &v1::Profile) -> Option<Speed> {
    let known = profile.prefill_tokens_per_second > 0.0 && profile.decode_tokens_per_second > 0.0;
    known.then_some(Speed {
        lanes: 0,
        prefill_tokens_per_second: profile.prefill_tokens_per_second,
        decode_tokens_per_second: profile.decode_tokens_per_second,
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

    fn rates(speed: Speed) -> [f64; 2] {
        [speed.prefill_tokens_per_second, speed.decode_tokens_per_second].map(f64::round)
    }

    #[test]
    fn the_time_of_a_token_grows_evenly_between_points() {
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
    fn lanes_are_spread_over_engines() {
        let profile = profile();
        let fleet = of_lanes(&[(4, &profile), (4, &profile)], 8);
        assert_eq!(fleet.iter().map(|speed| speed.lanes).collect::<Vec<_>>(), [2, 4, 6, 8]);
        assert_eq!(rates(fleet[1]), [800.0, 80.0]);
        assert_eq!(rates(fleet[3]), [400.0, 40.0]);
        // One engine is not measured: its lanes are taken to be as fast.
        let half = of_lanes(&[(4, &profile)], 8);
        assert_eq!(half, fleet);
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
