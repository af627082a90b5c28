use std::time::{Duration, Instant};

use caravan_proto::v1::Batch;
use caravan_tests::{Api, Fleet, Input};

/// What the gateway may add to half of the calls.
const LIMIT: Duration = Duration::from_millis(1);

/// GetBatch by the gateway and at the planner itself, by turns.
pub(super) async fn run(fleet: &Fleet, calls: usize) -> anyhow::Result<()> {
    let (gateway, planner) = (fleet.api()?, Api::new(&fleet.planner_url())?);
    let name = gateway.create(&Input::chats(4, "s"), Batch::default()).await?.name;
    gateway.when(&name, "planned", |batch| batch.plan_time.is_some()).await?;
    let (mut by, mut at) = (Vec::with_capacity(calls), Vec::with_capacity(calls));
    for _ in 0..calls {
        at.push(time(&planner, &name).await?);
        by.push(time(&gateway, &name).await?);
    }
    let (at, by) = (half(&mut at), half(&mut by));
    let added = by.saturating_sub(at);
    println!("unary: half of {calls} calls take {at:.0?} at the planner, {by:.0?} by the gateway");
    println!("  added {added:.0?}, {:.2} x the limit", added.div_duration_f64(LIMIT));
    Ok(())
}

async fn time(api: &Api, name: &str) -> anyhow::Result<Duration> {
    let since = Instant::now();
    api.get(name).await?;
    Ok(since.elapsed())
}

fn half(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
