//! `caravan results BATCH`

use std::{fmt::Write as _, path::PathBuf};

use caravan_proto::{
    name::BatchId,
    v1::{Result as Answer, StreamResultsRequest, StreamResultsResponse, stream_results_request::Order},
};
use serde_json::{Value, json};
use tonic::{Status, Streaming};

use super::Context;
use crate::{
    exit::Exit, failure::Failure, interrupt, local_file::LocalFile, patience::Patience, server::Server,
    stderr, stdout,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The batch, e.g. batch_0190….
    batch: BatchId,
    /// Wait for results that are still to come.
    #[arg(long)]
    follow: bool,
    /// In input order, once the batch has ended; else as they are committed.
    #[arg(long)]
    ordered: bool,
    /// Continue behind this cursor, from an earlier stream in the same order.
    #[arg(long, default_value = "", hide_default_value = true)]
    cursor: String,
    /// Write to this file, when the stream has ended, instead of stdout.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Where results go.
enum Sink {
    Stdout,
    File(Box<LocalFile>),
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let server = Server::connect(&context.server).await?;
    let mut sink = match &args.out {
        Some(path) => Sink::File(Box::new(LocalFile::create(path)?)),
        None => Sink::Stdout,
    };
    let mut cursor = args.cursor.clone();
    let streamed =
        interrupt::guard(stream(&server, &args, context.json, &mut cursor, &mut sink), String::new).await;
    match streamed {
        Err(Failure::Interrupted(_)) if args.out.is_none() && !cursor.is_empty() => {
            Err(Failure::Interrupted(format!("continue with --cursor {cursor}")))
        }
        Err(Failure::Interrupted(_)) => Err(Failure::Interrupted("nothing was written".to_owned())),
        Err(failure) => Err(failure),
        Ok(()) => {
            sink.finish().await?;
            if !cursor.is_empty() {
                stderr::note(format_args!("cursor {cursor}"));
            }
            Ok(Exit::Done)
        }
    }
}

/// Streams to the end, over any number of connections; `cursor` is behind what `sink` has.
async fn stream(
    server: &Server,
    args: &Args,
    json: bool,
    cursor: &mut String,
    sink: &mut Sink,
) -> Result<(), Failure> {
    let order = if args.ordered { Order::Input } else { Order::Committed };
    let mut patience = server.patience();
    loop {
        let request = StreamResultsRequest {
            name: args.batch.name(),
            cursor: cursor.clone(),
            order: order.into(),
            follow: args.follow,
        };
        let status = match server.batches().stream_results(request).await {
            Ok(response) => {
                let mut results = response.into_inner();
                let ended = drain(&mut results, json, cursor, sink, &mut patience).await?;
                match ended {
                    Ok(is_final) if is_final || !args.follow => return Ok(()),
                    Ok(_) => Status::unavailable("the results ended before the batch did"),
                    Err(status) => status,
                }
            }
            Err(status) => status,
        };
        patience.wait(status).await?;
    }
}

/// Takes one stream to its end: whether that was the end of all, or why it broke. The
/// outer error is the sink's.
async fn drain(
    results: &mut Streaming<StreamResultsResponse>,
    json: bool,
    cursor: &mut String,
    sink: &mut Sink,
    patience: &mut Patience,
) -> Result<Result<bool, Status>, Failure> {
    loop {
        let message = match results.message().await {
            Ok(Some(message)) => message,
            Ok(None) => return Ok(Ok(false)),
            Err(status) => return Ok(Err(status)),
        };
        patience.answered();
        sink.write(&lines(&message, json)).await?;
        if !message.cursor.is_empty() {
            *cursor = message.cursor;
        }
        if message.r#final {
            return Ok(Ok(true));
        }
    }
}

fn lines(message: &StreamResultsResponse, json: bool) -> String {
    let mut text = String::new();
    for result in &message.results {
        let _ = if json {
            writeln!(text, "{}", described(result, &message.cursor))
        } else {
            writeln!(text, "{}", result.json)
        };
    }
    text
}

/// A result with what stands beside it; `cursor` continues behind the message it came in.
fn described(result: &Answer, cursor: &str) -> Value {
    let line: Value = serde_json::from_str(&result.json).unwrap_or_else(|_| json!(result.json));
    json!({
        "line": result.line,
        "custom_id": result.custom_id,
        "succeeded": result.succeeded,
        "result": line,
        "cursor": cursor,
    })
}

// === impl Sink ===

impl Sink {
    async fn write(&mut self, lines: &str) -> Result<(), Failure> {
        match self {
            _ if lines.is_empty() => Ok(()),
            Self::Stdout => stdout::text(lines),
            Self::File(file) => file.write(lines.as_bytes()).await,
        }
    }

    async fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Stdout => Ok(()),
            Self::File(file) => file.finish().await,
        }
    }
}
