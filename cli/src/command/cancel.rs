//! `caravan cancel BATCH`

use caravan_proto::{name::BatchId, v1::CancelBatchRequest};

use super::{Context, get};
use crate::{exit::Exit, failure::Failure, server::Server};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The batch, e.g. batch_0190….
    batch: BatchId,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let server = Server::connect(&context.server).await?;
    let request = CancelBatchRequest { name: args.batch.name() };
    let batch = server.call(request, async |request| server.batches().cancel_batch(request).await).await?;
    get::tell_state(&batch, context.json)?;
    Ok(Exit::Done)
}
