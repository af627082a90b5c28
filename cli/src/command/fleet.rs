//! `caravan fleet`

mod text;

use std::io::{self, IsTerminal as _};

use caravan_proto::{
    json::to_value,
    v1::{Executor, ListExecutorsRequest, WatchFleetRequest},
};
use serde_json::json;
use tonic::Status;

use super::{Context, LARGEST_PAGE};
use crate::{exit::Exit, failure::Failure, interrupt, server::Server, stdout};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Show it again whenever it changes, until Ctrl-C.
    #[arg(long)]
    watch: bool,
    /// Also executors that are offline.
    #[arg(long, conflicts_with = "watch")]
    offline: bool,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let server = Server::connect(&context.server).await?;
    if args.watch {
        let watching = watch(&server, context.json);
        return interrupt::guard(watching, || "no longer watching the fleet".to_owned()).await;
    }
    let executors = list(&server, args.offline).await?;
    print(&executors, context.json)?;
    Ok(Exit::Done)
}

pub(super) async fn list(server: &Server, show_offline: bool) -> Result<Vec<Executor>, Failure> {
    let mut executors = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListExecutorsRequest { page_size: LARGEST_PAGE, page_token, show_offline };
        let page = server.call(request, async |request| server.fleet().list_executors(request).await).await?;
        executors.extend(page.executors);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(executors);
        }
    }
}

/// Ends by a signal only, or when the server stays away.
async fn watch(server: &Server, json: bool) -> Result<Exit, Failure> {
    let mut patience = server.patience();
    loop {
        let status = match server.fleet().watch_fleet(WatchFleetRequest {}).await {
            Ok(response) => {
                let mut fleet = response.into_inner();
                loop {
                    match fleet.message().await {
                        Ok(Some(now)) => {
                            patience.answered();
                            if !json && io::stdout().is_terminal() {
                                stdout::text("\x1b[H\x1b[2J")?;
                            }
                            print(&now.executors, json)?;
                        }
                        Ok(None) => break Status::unavailable("the watch ended"),
                        Err(status) => break status,
                    }
                }
            }
            Err(status) => status,
        };
        patience.wait(status).await?;
    }
}

fn print(executors: &[Executor], json: bool) -> Result<(), Failure> {
    if json {
        let executors: Vec<_> = executors.iter().map(to_value).collect();
        return stdout::line(json!({"executors": executors}));
    }
    stdout::line(text::of(executors))
}
