//! The gateway as an edge: what it takes to tell many of progress, to hand on a file, and to answer a call.

mod memory;
mod unary;
mod upload;
mod watch;

use caravan_tests::{Fleet, Process};

pub(crate) use watch::Audience;

/// Two planners on one PostgreSQL, and two gateways, each at another planner; they, the database, an engine and
/// all clients share the machine's cores.
pub(crate) async fn run(audience: &Audience, upload_mb: usize, calls: usize) -> anyhow::Result<()> {
    // Twice a second is as often as a batch is published.
    let mut fleet = Fleet::replicated("[commit]\ntick_ms = 500\n").await?;
    unary::run(&fleet, calls).await?;
    upload::run(&mut fleet, upload_mb).await?;
    watch::run(&mut fleet, audience).await
}

/// The id of a process that runs.
fn id(process: &Process) -> anyhow::Result<u32> {
    process.id().ok_or_else(|| anyhow::anyhow!("it has ended"))
}
