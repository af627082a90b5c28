//! A fleet under faults: nothing lost, nothing twice, nothing torn. More by hand: `caravan-chaos`.

use anyhow::ensure;
use caravan_tests::chaos::{self, Options};
use clap::Parser as _;

#[derive(clap::Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

#[tokio::test]
async fn the_books_balance_after_twenty_faults_over_two_thousand_requests() -> anyhow::Result<()> {
    let args = ["", "--store", "postgres", "--objects", "s3", "--requests", "2000", "--faults", "24"];
    let options = Arguments::parse_from(args).options;
    let report = chaos::run(&options).await?;
    println!("{}", report.to_json());
    ensure!(report.broken.is_none(), "{report:?}");
    ensure!(report.faults() >= 20, "only {} faults came while work was left", report.faults());
    Ok(())
}
