//! `caravan retry BATCH`

use caravan_proto::{
    name::BatchId,
    v1::{RetryBatchRequest, retry_batch_request::Kind},
};
use clap::ValueEnum;
use serde_json::json;
use uuid::Uuid;

use super::{Context, get, watch};
use crate::{delivery::Delivery, exit::Exit, failure::Failure, server::Server, stderr, stdout};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The batch that has ended, e.g. batch_0190….
    batch: BatchId,
    /// Only requests of these kinds, with commas between; rejected ones only where they are named.
    #[arg(long, value_enum, value_name = "KIND", value_delimiter = ',')]
    only: Vec<KindName>,
    /// Key that makes this retry idempotent: the same key returns the same batch.
    #[arg(long, value_name = "KEY")]
    request_id: Option<String>,
    /// Watch the new batch until it ends; the exit code says how it ended.
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    delivery: Delivery,
}

/// Why a request has no answer.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum KindName {
    /// An engine failed or refused it.
    Failed,
    /// Its batch was cancelled.
    Cancelled,
    /// Its batch expired.
    Expired,
    /// Its line is invalid.
    Rejected,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    args.delivery.check()?;
    let server = Server::connect(&context.server).await?;
    let kind = |name: &KindName| match name {
        KindName::Failed => Kind::Failed.into(),
        KindName::Cancelled => Kind::Cancelled.into(),
        KindName::Expired => Kind::Expired.into(),
        KindName::Rejected => Kind::Rejected.into(),
    };
    let request = RetryBatchRequest {
        name: args.batch.name(),
        kinds: args.only.iter().map(kind).collect(),
        // A repeated call after a lost answer must not make a second batch.
        request_id: args.request_id.unwrap_or_else(|| Uuid::now_v7().simple().to_string()),
    };
    let batch = server.call(request, async |request| server.batches().retry_batch(request).await).await?;
    let id: BatchId = batch.name.parse().map_err(|error| Failure::Unexpected(format!("{error}")))?;
    if context.json {
        let mut line = get::json(&batch);
        line["event"] = json!("retried");
        stdout::line(line)?;
    } else {
        stdout::line(id)?;
    }
    if args.watch || args.delivery.is_wanted() {
        return watch::to_the_end(&server, id, &args.delivery, context.json).await;
    }
    stderr::note(format_args!("watch it with: caravan watch {id}"));
    Ok(Exit::Done)
}
