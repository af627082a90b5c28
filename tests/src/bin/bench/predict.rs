use anyhow::ensure;
use caravan_simulated_engine::Options;
use caravan_tests::{Predicted, Shape, predict};

/// Runs shape after shape and prints the plan's time against what came.
pub(crate) async fn run(runs: usize, options: &Options) -> anyhow::Result<()> {
    println!("{:<44} {:>10} {:>8} {:>6}", "shape", "predicted", "actual", "ratio");
    let mut worst = 1.0f64;
    for shape in Shape::ALL {
        let mut ratios = Vec::with_capacity(runs);
        for _ in 0..runs {
            let Predicted { predicted, actual } = predict(shape, options).await?;
            println!(
                "{:<44} {predicted:>8.2} s {actual:>6.2} s {:>6.3}",
                shape.to_string(),
                predicted / actual
            );
            ratios.push(predicted / actual);
        }
        ratios.sort_by(f64::total_cmp);
        let median = ratios.get(ratios.len() / 2).copied().unwrap_or(1.0);
        println!("{:<44} {:>26} {median:>6.3}", "", "median");
        if (median - 1.0).abs() > (worst - 1.0).abs() {
            worst = median;
        }
    }
    ensure!((worst - 1.0).abs() <= 0.1, "a median of {worst:.3} is more than 10 % off");
    Ok(())
}
