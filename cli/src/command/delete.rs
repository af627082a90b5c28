//! `caravan delete BATCH`

use caravan_proto::{name::BatchId, v1::DeleteBatchRequest};
use serde_json::json;

use super::Context;
use crate::{exit::Exit, failure::Failure, server::Server, stderr, stdout};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The batch, e.g. batch_0190….
    batch: BatchId,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let server = Server::connect(&context.server).await?;
    let request = DeleteBatchRequest { name: args.batch.name() };
    server.call(request, async |request| server.batches().delete_batch(request).await).await?;
    if context.json {
        stdout::line(json!({"batch": args.batch.to_string(), "deleted": true}))?;
    } else {
        stderr::note(format_args!("{} deleted", args.batch));
    }
    Ok(Exit::Done)
}
