//! Speeds out of requests: what a lane takes for a prompt's token, for an answer's, and besides.

use caravan_proto::v1::SpeedPoint;

use super::{
    fit::{Row, any_sign, nonnegative},
    knee::knee,
    measurement::{Burst, Trial},
};

/// Requests with so many lanes busy.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rates {
    /// As the contract has it.
    pub(super) point: SpeedPoint,
    /// The mean of the requests' relative distances from what the coefficients say.
    pub(super) off: f64,
}

/// One of each number of lanes, ascending, the knee marked.
pub(super) fn conclude(bursts: &[&Burst]) -> Vec<Rates> {
    let mut lanes: Vec<u32> = bursts.iter().map(|burst| burst.lanes).collect();
    lanes.sort_unstable();
    lanes.dedup();
    let of = |lanes: u32| {
        let bursts = bursts.iter().filter(|burst| burst.lanes == lanes);
        rates(lanes, &bursts.flat_map(|burst| burst.trials.iter().copied()).collect::<Vec<_>>())
    };
    let mut all: Vec<Rates> = lanes.into_iter().filter_map(of).collect();
    let curve: Vec<_> =
        all.iter().map(|rates| (rates.point.slots.unsigned_abs(), rates.point.throughput)).collect();
    if let Some(rates) = knee(&curve).and_then(|place| all.get_mut(place)) {
        rates.point.knee = true;
    }
    all
}

/// None of no trials, and none where a token took no time that could be told.
fn rates(lanes: u32, trials: &[Trial]) -> Option<Rates> {
    let row = |trial: &Trial| Row { x: [1.0, trial.evaluated, trial.answered], y: trial.seconds };
    let rows: Vec<Row<3>> = trials.iter().map(row).collect();
    let told = |coefficients: &[f64; 3]| coefficients[1] > 0.0 && coefficients[2] > 0.0;
    let without_request = || {
        let rows: Vec<Row<2>> = rows.iter().map(|row| Row { x: [row.x[1], row.x[2]], y: row.y }).collect();
        any_sign(&rows).map(|[prompt, answer]| [0.0, prompt, answer])
    };
    let coefficients = nonnegative(&rows).filter(told).or_else(without_request).filter(told)?;
    let [request, prompt, answer] = coefficients;
    let seconds: f64 = trials.iter().map(|trial| trial.seconds).sum();
    let answered: f64 = trials.iter().map(|trial| trial.answered).sum();
    let off: f64 = rows.iter().map(|row| (row.fitted(&coefficients) / row.y - 1.0).abs()).sum();
    let point = SpeedPoint {
        slots: lanes.try_into().unwrap_or(i32::MAX),
        prefill_tokens_per_second: prompt.recip(),
        decode_tokens_per_second: answer.recip(),
        request_seconds: request,
        throughput: if seconds > 0.0 { f64::from(lanes) * answered / seconds } else { 0.0 },
        knee: false,
        requests: rows.len().try_into().unwrap_or(i32::MAX),
    };
    Some(Rates { point, off: off / rows.len() as f64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn burst(lanes: u32, request: f64, prefill: f64, decode: f64) -> Burst {
        let kinds = [(32.0, 8.0), (512.0, 8.0), (32.0, 64.0), (256.0, 64.0)];
        let trials = kinds.map(|(evaluated, answered)| Trial {
            evaluated,
            answered,
            seconds: request + evaluated / prefill + answered / decode,
        });
        Burst { lanes, trials: trials.into() }
    }

    #[test]
    fn the_rates_come_out_of_the_requests() {
        let all = [burst(2, 0.02, 800.0, 60.0), burst(1, 0.01, 1_000.0, 100.0), burst(4, 0.05, 400.0, 30.0)];
        let rates = conclude(&all.iter().collect::<Vec<_>>());
        assert_eq!(rates.iter().map(|rates| rates.point.slots).collect::<Vec<_>>(), [1, 2, 4]);
        let point = &rates[1].point;
        assert!((point.prefill_tokens_per_second - 800.0).abs() < 1e-3, "{point:?}");
        assert!((point.decode_tokens_per_second - 60.0).abs() < 1e-3);
        assert!((point.request_seconds - 0.02).abs() < 1e-6);
        assert!(rates[1].off < 1e-9);
        let knees: Vec<_> = rates.iter().map(|rates| rates.point.knee).collect();
        assert_eq!(knees, [false, true, false], "four lanes are no faster together than two");
    }

    #[test]
    fn what_tells_no_rate_has_none() {
        let free = Trial { evaluated: 5.0, answered: 5.0, seconds: 0.0 };
        assert!(rates(1, &[free]).is_none());
        assert!(rates(1, &[]).is_none());
        let only = Trial { evaluated: 0.0, answered: 0.0, seconds: 0.5 };
        assert!(rates(1, &[only]).is_none(), "nothing tells what a token takes");
    }
}
