use caravan_proto::v1;

use crate::store::{Batch, State};

/// A completed batch's plan held against what happened. `None` for any other batch.
#[must_use]
pub fn report(batch: &Batch) -> Option<v1::Report> {
    let plan = batch.plan.as_ref().filter(|_| batch.state == State::Completed)?;
    let micros = batch.started.zip(batch.last_commit).map(|(from, to)| to.saturating_sub(from));
    let planned = plan.estimated_duration.and_then(|time| std::time::Duration::try_from(time).ok());
    let seconds = planned.zip(micros).map(|(planned, micros)| {
        let actual = std::time::Duration::from_micros(u64::try_from(micros).unwrap_or_default());
        prediction(planned.as_secs_f64(), actual.as_secs_f64())
    });
    Some(v1::Report {
        prompt_tokens: Some(tokens(plan.prompt_tokens_with, batch.usage.evaluated_tokens)),
        output_tokens: Some(tokens(plan.output_tokens, batch.usage.completion_tokens)),
        seconds,
    })
}

fn tokens(predicted: i64, actual: i64) -> v1::Prediction {
    prediction(predicted as f64, actual as f64)
}

fn prediction(predicted: f64, actual: f64) -> v1::Prediction {
    let ratio = if actual > 0.0 { predicted / actual } else { 0.0 };
    v1::Prediction { predicted, actual, ratio }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_predicted_over_actual() {
        assert_eq!(prediction(90.0, 100.0).ratio, 0.9);
        assert_eq!(prediction(90.0, 0.0), v1::Prediction { predicted: 90.0, actual: 0.0, ratio: 0.0 });
    }
}
