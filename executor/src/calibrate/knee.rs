//! How many slots are worth their memory.

/// Twice the slots must give at least so much more throughput, as a share. Measured on one H200 with an 8B
/// model: 26 % from 4 slots to 8, then 10 % and 12 %; with its sampling on the GPU 29 % from 8 to 16,
/// then 4 %.
const WORTH: f64 = 0.15;

/// The place of the knee among `points` of (slots, throughput), fewest slots first: the last that more than
/// paid for its slots, with no dearer step before it. None of no points.
pub(crate) fn knee(points: &[(u32, f64)]) -> Option<usize> {
    let mut knee = None;
    for (place, (slots, throughput)) in points.iter().enumerate() {
        if throughput.is_nan() || *throughput <= 0.0 {
            continue;
        }
        let Some((before_slots, before)) = knee.map(|place: usize| points[place]) else {
            knee = Some(place);
            continue;
        };
        let doublings = (f64::from(*slots) / f64::from(before_slots)).log2();
        let gain = (throughput / before).powf(1.0 / doublings) - 1.0;
        if gain < WORTH {
            break;
        }
        knee = Some(place);
    }
    knee
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_knees_of_a_real_gpu_are_found() {
        let plain = [(1, 0.70), (2, 1.12), (4, 1.60), (8, 2.01), (16, 2.20), (32, 2.46)];
        assert_eq!(knee(&plain), Some(3));
        let tuned = [(1, 0.70), (2, 1.12), (4, 1.60), (8, 2.01), (16, 2.59), (32, 2.69), (64, 2.87)];
        assert_eq!(knee(&tuned), Some(4));
    }

    #[test]
    fn odd_numbers_of_slots_are_judged_by_the_doubling() {
        assert_eq!(knee(&[(1, 1.0), (2, 2.0), (3, 2.25)]), Some(2));
        assert_eq!(knee(&[(1, 1.0), (2, 2.0), (3, 2.1)]), Some(1));
    }

    #[test]
    fn without_throughput_there_is_no_knee() {
        assert_eq!(knee(&[]), None);
        assert_eq!(knee(&[(1, 0.0), (2, f64::NAN)]), None);
        assert_eq!(knee(&[(1, 0.0), (2, 5.0)]), Some(1));
        assert_eq!(knee(&[(1, 5.0)]), Some(0));
    }
}
