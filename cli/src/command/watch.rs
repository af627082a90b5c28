//! `caravan watch BATCH`

use caravan_proto::{
    name::BatchId,
    v1::{Batch, GetBatchRequest, batch::State},
};
use serde_json::{Value, json};

use super::{Context, get};
use crate::{
    delivery::Delivery, exit::Exit, failure::Failure, interrupt, progress::Progress, server::Server, stderr,
    stdout, summary, watch::Watch,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The batch, e.g. batch_0190….
    batch: BatchId,
    #[command(flatten)]
    delivery: Delivery,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    args.delivery.check()?;
    let server = Server::connect(&context.server).await?;
    to_the_end(&server, args.batch, &args.delivery, context.json).await
}

/// Watches a batch until it ends, delivers its files and tells how it went.
pub(super) async fn to_the_end(
    server: &Server,
    id: BatchId,
    delivery: &Delivery,
    json: bool,
) -> Result<Exit, Failure> {
    let work = async {
        follow(server, id, json).await?;
        let request = GetBatchRequest { name: id.name() };
        let batch = server.call(request, async |request| server.batches().get_batch(request).await).await?;
        delivery.deliver(server, &batch).await?;
        Ok(batch)
    };
    let goes_on = || format!("the batch goes on; continue with: caravan watch {id}");
    let batch = interrupt::guard(work, goes_on).await?;
    tell(&batch, json)?;
    Ok(Exit::of(&batch))
}

async fn follow(server: &Server, id: BatchId, json: bool) -> Result<(), Failure> {
    let mut progress = Progress::new(json);
    let mut watch = Watch::new(server, id.name());
    while let Some(batch) = watch.next().await? {
        progress.show(batch);
        if json {
            stdout::line(event(id, batch))?;
        }
    }
    Ok(())
}

/// What moves while a batch runs.
fn event(id: BatchId, batch: &Batch) -> Value {
    const MOVING: [&str; 9] = [
        "state",
        "state_reason",
        "state_message",
        "requests",
        "chunks",
        "usage",
        "progress",
        "expire_time",
        "revision",
    ];

    let mut whole = get::json(batch);
    let mut event = json!({"event": "progress", "batch": id.to_string()});
    for field in MOVING {
        if let Some(value) = whole.get_mut(field) {
            event[field] = value.take();
        }
    }
    event
}

fn tell(batch: &Batch, json: bool) -> Result<(), Failure> {
    let errors = summary::line_errors(batch);
    if batch.state() == State::Failed && !errors.is_empty() {
        stderr::note(errors);
    }
    stderr::note(summary::text(batch));
    if json { stdout::line(get::json(batch)) } else { Ok(()) }
}
