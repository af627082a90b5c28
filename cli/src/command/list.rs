//! `caravan list`

use caravan_proto::v1::{Batch, ListBatchesRequest, batch::State};

use super::{Context, LARGEST_PAGE, get};
use crate::{
    exit::Exit,
    failure::Failure,
    figures::count,
    progress,
    server::Server,
    stdout,
    table::{time, with_heading},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only batches in this state; may be given again.
    #[arg(long, value_parser = state)]
    state: Vec<State>,
    /// Batches to list, at most.
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let server = Server::connect(&context.server).await?;
    let batches = list(&server, &args).await?;
    if context.json {
        batches.iter().try_for_each(|batch| stdout::line(get::json(batch)))?;
        return Ok(Exit::Done);
    }
    let mut table = with_heading(["BATCH", "STATE", "REQUESTS", "ANSWERED", "FAILED", "CHUNKS", "CREATED"]);
    for batch in &batches {
        let (requests, chunks) = (batch.requests.unwrap_or_default(), batch.chunks.unwrap_or_default());
        table.add_row([
            get::id(batch).to_owned(),
            progress::state(batch.state()),
            count(requests.total),
            count(requests.succeeded),
            count(requests.failed),
            format!("{}/{}", count(chunks.done), count(chunks.total)),
            time(batch.create_time),
        ]);
    }
    stdout::line(table.trim_fmt())?;
    Ok(Exit::Done)
}

/// At most `--limit` batches, over as many pages as it takes.
async fn list(server: &Server, args: &Args) -> Result<Vec<Batch>, Failure> {
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let mut batches = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListBatchesRequest {
            page_size: i32::try_from(limit - batches.len()).unwrap_or(LARGEST_PAGE).min(LARGEST_PAGE),
            page_token,
            states: args.state.iter().map(|&state| state.into()).collect(),
        };
        let page = server.call(request, async |request| server.batches().list_batches(request).await).await?;
        batches.extend(page.batches.into_iter().take(limit - batches.len()));
        page_token = page.next_page_token;
        if page_token.is_empty() || batches.len() == limit {
            return Ok(batches);
        }
    }
}

fn state(text: &str) -> Result<State, String> {
    State::from_str_name(&format!("STATE_{}", text.to_uppercase()))
        .filter(|&state| state != State::Unspecified)
        .ok_or_else(|| format!("`{text}` is not a state of a batch, e.g. queued, running, completed"))
}
