//! `caravan fleet`

use std::io::{self, IsTerminal as _};

use caravan_proto::{
    json::{enum_text, to_value},
    v1::{Engine, Executor, Gpu, ListExecutorsRequest, WatchFleetRequest},
};
use serde_json::json;
use tonic::Status;

use super::Context;
use crate::{
    exit::Exit,
    failure::Failure,
    figures::{bytes, share},
    interrupt,
    server::Server,
    stdout,
    table::with_heading,
};

/// The largest page that the server gives.
const LARGEST_PAGE: i32 = 1_000;

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
    let mut engines =
        with_heading(["HOST", "EXECUTOR", "ENGINE", "ENGINE STATE", "LANES AT WORK", "TOKENS/S", "MODELS"]);
    for executor in executors {
        for engine in &executor.engines {
            engines.add_row(engine_row(executor, engine));
        }
    }
    stdout::line(engines.trim_fmt())?;
    let mut gpus = with_heading(["HOST", "GPU", "NAME", "VRAM USED", "VRAM TOTAL", "USED"]);
    for executor in executors {
        gpu_rows(executor).into_iter().for_each(|row| {
            gpus.add_row(row);
        });
    }
    if gpus.is_empty() { Ok(()) } else { stdout::line(format_args!("\n{}", gpus.trim_fmt())) }
}

fn engine_row(executor: &Executor, engine: &Engine) -> [String; 7] {
    let executor_state = enum_text(executor.state().as_str_name(), "State");
    let mut state = enum_text(engine.state().as_str_name(), "State");
    if !engine.message.is_empty() {
        state = format!("{state}: {}", engine.message);
    }
    let models: Vec<_> = engine.models.iter().map(|model| model.name.as_str()).collect();
    [
        executor.host.clone(),
        executor_state,
        format!("{} {}", engine.id, engine.version).trim_end().to_owned(),
        state,
        format!("{}/{}", engine.lanes.len(), engine.slots),
        format!("{:.0}", engine.tokens_per_second),
        models.join(", "),
    ]
}

fn gpu_rows(executor: &Executor) -> Vec<[String; 6]> {
    let row = |gpu: &Gpu| {
        let unavailable = |reason: &str| format!("unavailable: {reason}");
        let missing =
            || unavailable(if gpu.unavailable.is_empty() { "not reported" } else { &gpu.unavailable });
        let used = gpu.vram_used_bytes.zip(gpu.vram_total_bytes);
        [
            executor.host.clone(),
            gpu.index.to_string(),
            gpu.name.clone(),
            gpu.vram_used_bytes.map_or_else(missing, bytes),
            gpu.vram_total_bytes.map_or_else(missing, bytes),
            used.map_or_else(|| "-".to_owned(), |(used, total)| share(used, total)),
        ]
    };
    if executor.gpus.is_empty() && !executor.gpu_unavailable.is_empty() {
        let reason = format!("unavailable: {}", executor.gpu_unavailable);
        return vec![[executor.host.clone(), "-".into(), "-".into(), reason.clone(), reason, "-".into()]];
    }
    executor.gpus.iter().map(row).collect()
}
